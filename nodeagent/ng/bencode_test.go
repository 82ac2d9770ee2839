package ng

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// Values survive writing and reading; keys come out sorted.
func TestBencode_RoundTrip(t *testing.T) {
	v := map[string]any{
		"command": "offer", "b": "\x00\xff:e", "a": int64(-9223372036854775808), "list": []any{"", int64(0), []any{}, map[string]any{}},
	}
	raw, err := encode(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	const want = "d1:ai-9223372036854775808e1:b4:\x00\xff:e7:command5:offer4:listl0:i0eledeee"
	if string(raw) != want {
		t.Errorf("wrote %q, want %q", raw, want)
	}
	back, err := decode(raw)
	if err != nil || !reflect.DeepEqual(back, v) {
		t.Errorf("read back %v, %v", back, err)
	}
	if _, err := encode(nil, 1.5); err == nil {
		t.Error("a float was written")
	}
}

// What is not one strict value is refused, and a hostile length or depth costs nothing.
func TestBencode_RefusesMalformedInput(t *testing.T) {
	for _, raw := range []string{
		"", "x", "i", "ie", "i-e", "i-0e", "i01e", "i1", "i+1e", "i9223372036854775808e", "1", "1:", "01:a", "-1:a", "2:a",
		"999999999999:a", "99999999999999999999999:a", "l", "li1e", "d", "d1:a", "d1:ae", "di1ei1ee", "d1:ai1e1:ai2ee", "i1ei2e", "lee",
		strings.Repeat("l", maxDepth+2) + strings.Repeat("e", maxDepth+2), "l" + strings.Repeat("i1e", maxElements+1) + "e",
	} {
		if v, err := decode([]byte(raw)); !errors.Is(err, errBencode) {
			t.Errorf("%.40q was read as %v, %v", raw, v, err)
		}
	}
}

// Whatever is read can be written, and reads back the same: for all bytes.
func FuzzBencode(f *testing.F) {
	f.Add([]byte("d6:result4:ponge"))
	f.Add([]byte("d5:callsl3:abce7:createdi1795305469e6:result2:oke"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := decode(raw)
		if err != nil {
			return
		}
		again, err := encode(nil, v)
		if err != nil {
			t.Fatalf("cannot write %v: %v", v, err)
		}
		if len(again) != len(raw) {
			t.Errorf("%q became %q", raw, again)
		}
		back, err := decode(again)
		if err != nil || !reflect.DeepEqual(back, v) {
			t.Errorf("%v read back as %v, %v", v, back, err)
		}
	})
}
