package setting

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestList_ReadsAndWritesEachKind(t *testing.T) {
	// Proves that a value of every kind is read from its variable and written so that it is read again alike, that what is no such
	// value is an error which names the variable, that the others stay, and what the sample says.
	var c struct {
		text  string
		words []string
		n     int
		on    bool
		wait  time.Duration
		level slog.Level
	}
	list := Of("SIPIO_X_", Text("a-text", "a text", &c.text), Words("words", "words", &c.words), Number("n", "a number", &c.n),
		Toggle("on", "a toggle", &c.on), Duration("wait", "a duration", &c.wait), LogLevel(&c.level))
	sample := list.Sample("x")
	for _, line := range []string{"# a text\n#SIPIO_X_A_TEXT=\n", "#SIPIO_X_N=0\n", "#SIPIO_X_ON=false\n", "#SIPIO_X_WAIT=0s\n", "#SIPIO_X_LOG_LEVEL=info\n"} {
		if !strings.Contains(sample, line) {
			t.Errorf("the sample has no %q:\n%s", line, sample)
		}
	}
	good := map[string]string{"SIPIO_X_A_TEXT": "x y", "SIPIO_X_WORDS": "a, b c", "SIPIO_X_N": "-7", "SIPIO_X_ON": "1", "SIPIO_X_WAIT": "90s", "SIPIO_X_LOG_LEVEL": "WARN"}
	if err := list.SetFromEnv(func(name string) (string, bool) { v, ok := good[name]; return v, ok }); err != nil {
		t.Fatal(err)
	}
	want := []string{"x y", "a,b,c", "-7", "true", "1m30s", "warn"}
	types := []string{"string", "string", "int", "bool", "duration", "string"}
	for i, s := range list {
		if err := s.Set(s.Get()); err != nil || s.Get() != want[i] || s.String() != want[i] || s.Type() != types[i] {
			t.Errorf("%s: %q %s, %v", s.Env(), s.Get(), s.Type(), err)
		}
	}
	for name, bad := range map[string]string{"SIPIO_X_N": "7.5", "SIPIO_X_ON": "perhaps", "SIPIO_X_WAIT": "soon", "SIPIO_X_LOG_LEVEL": "loud"} {
		err := list.SetFromEnv(func(n string) (string, bool) { return bad, n == name })
		if err == nil || !strings.Contains(err.Error(), name+`="`+bad+`"`) {
			t.Errorf("%s=%s: %v", name, bad, err)
		}
	}
	if c.text != "x y" {
		t.Errorf("the text is %q", c.text)
	}
	if (Setting{}).String() != "" {
		t.Error("a zero setting is something")
	}
}
