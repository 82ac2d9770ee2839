// Package setting is what an operator can set of a process: each setting one flag, one variable and one line of the sample file.
package setting

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Setting is one setting as text. It is the value of a flag, as github.com/spf13/pflag wants it.
type Setting struct {
	Name string // as in --name
	Doc  string

	prefix string // of the variable
	kind   string // string, duration, int, bool
	get    func() string
	set    func(string) error
}

// Func is a setting that is read and written by its own functions.
func Func(name, doc, kind string, get func() string, set func(string) error) Setting {
	return Setting{Name: name, Doc: doc, kind: kind, get: get, set: set}
}

// Text is a setting that is a string.
func Text(name, doc string, at *string) Setting {
	return Func(name, doc, "string", func() string { return *at }, func(s string) error { *at = s; return nil })
}

// Words is a setting of several words, with commas or blanks between.
func Words(name, doc string, at *[]string) Setting {
	return Func(name, doc, "string", func() string { return strings.Join(*at, ",") }, func(s string) error {
		*at = strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
		return nil
	})
}

// Number is a setting that is a whole number.
func Number(name, doc string, at *int) Setting {
	return Func(name, doc, "int", func() string { return strconv.Itoa(*at) }, func(s string) (err error) { *at, err = strconv.Atoi(s); return err })
}

// Toggle is a setting that is true or false.
func Toggle(name, doc string, at *bool) Setting {
	return Func(name, doc, "bool", func() string { return strconv.FormatBool(*at) }, func(s string) (err error) { *at, err = strconv.ParseBool(s); return err })
}

// Duration is a setting such as 500ms.
func Duration(name, doc string, at *time.Duration) Setting {
	return Func(name, doc, "duration", func() string { return at.String() }, func(s string) (err error) { *at, err = time.ParseDuration(s); return err })
}

// LogLevel is the setting log-level.
func LogLevel(at *slog.Level) Setting {
	return Func("log-level", "debug, info, warn or error", "string",
		func() string { return strings.ToLower(at.String()) }, func(s string) error { return at.UnmarshalText([]byte(s)) })
}

// List is the settings of a process, in the order of the sample file.
type List []Setting

// Of is a list whose variables begin with a prefix, such as SIPIO_NODE_.
func Of(prefix string, settings ...Setting) List {
	for i := range settings {
		settings[i].prefix = prefix
	}
	return settings
}

// Env is the name of the environment variable.
func (s Setting) Env() string {
	return s.prefix + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

// Get is the value.
func (s Setting) Get() string {
	if s.get == nil { // cobra asks a zero value what the default of the type is
		return ""
	}
	return s.get()
}

// String is Get.
func (s Setting) String() string { return s.Get() }

// Set reads a value.
func (s Setting) Set(text string) error { return s.set(text) }

// Type is string, duration, int or bool.
func (s Setting) Type() string { return s.kind }

// SetFromEnv takes every setting whose variable is set, through lookup (os.LookupEnv).
func (l List) SetFromEnv(lookup func(string) (string, bool)) error {
	var errs []error
	for _, s := range l {
		if v, ok := lookup(s.Env()); ok {
			if err := s.Set(v); err != nil {
				errs = append(errs, fmt.Errorf("%s=%q: %w", s.Env(), v, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Sample is the sample of an environment file: every variable with the value that it has, as a comment.
func (l List) Sample(program string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Settings of %s, read by its systemd unit. The values here are the defaults.\n", program)
	for _, s := range l {
		fmt.Fprintf(&b, "\n# %s\n#%s=%s\n", s.Doc, s.Env(), s.Get())
	}
	return b.String()
}
