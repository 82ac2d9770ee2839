package endpoint

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/sipio/sipio/brain/api"
)

// The tables of fields and the wire's structs must name the same fields; each field is set by its own
// name only. Proved by walking the structs by reflection, which the code itself never does.
func TestFields_AreExactlyThoseOfTheWire(t *testing.T) {
	checkFieldSet(t, &authFields)
	checkFieldSet(t, &routeFields)
}

func checkFieldSet[T any](t *testing.T, set *fieldSet[T]) {
	t.Helper()
	var v T
	paths := map[string]reflect.Value{}
	collect(reflect.ValueOf(&v).Elem(), paths)
	if len(paths) != len(set.fields) {
		t.Errorf("%T: %d fields on the wire, %d in the table", v, len(paths), len(set.fields))
	}
	for _, f := range set.fields {
		at, ok := paths[f.name]
		if !ok {
			t.Errorf("%T: the wire has no field %s", v, f.name)
			continue
		}
		value := "12"
		if err := set.decodeForm(f.name+"="+value, &v); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
		if got := at.Interface(); fmt.Sprint(got) != value {
			t.Errorf("%T: %s set another field: it is %v", v, f.name, got)
		}
		at.SetZero()
		if !reflect.ValueOf(v).IsZero() {
			t.Errorf("%T: %s set more than itself: %+v", v, f.name, v)
		}
	}
}

func collect(v reflect.Value, into map[string]reflect.Value) {
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Anonymous {
			collect(v.Field(i), into)
		} else {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			into[name] = v.Field(i)
		}
	}
}

// Whatever the bytes, our decoder takes a form only when net/url does and then reads the same, and it
// refuses what net/url takes only for one of its stated reasons.
func FuzzDecodeForm_ReadsWhatNetURLReads(f *testing.F) {
	for _, s := range []string{"", "&", "call_id=a&cseq=1", "call_id=%41+%2B", "call_id", "call%5fid=x", "call_id=a;cseq=1",
		"call_id=%4", "call_id=%zz", "x=1", "call_id=a&call_id=b", "source_port=5060", "source_port=-1", "from_name=%0d%0a",
		"from_name=%ff", "from_name=%c2%80", "=", "source_port=", strings.Repeat("&", 200), inviteQuestion("1001", "x", "1002").Encode()} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var got api.RouteRequest
		err := routeFields.decodeForm(body, &got)
		want, oracleErr := url.ParseQuery(body)
		if err != nil {
			if oracleErr == nil && refusedWithoutReason(body, want) {
				t.Fatalf("refused without reason: %v", err)
			}
			return
		}
		if oracleErr != nil {
			t.Fatalf("taken, but net/url says %v", oracleErr)
		}
		for i := range routeFields.fields {
			fld := &routeFields.fields[i]
			read := want.Get(fld.name)
			if fld.loose {
				read = fld.clean(read)
			}
			if fld.text != nil && *fld.text(&got) != read {
				t.Fatalf("%s is %q, net/url reads %q", fld.name, *fld.text(&got), read)
			}
			want.Del(fld.name)
		}
		if len(want) != 0 {
			t.Fatalf("took a form with unknown fields %v", want)
		}
	})
}

// refusedWithoutReason says that a form has nothing that the decoder is there to refuse.
func refusedWithoutReason(body string, v url.Values) bool {
	if strings.Count(body, "&") >= maxPairs {
		return false
	}
	for name, values := range v {
		i, known := routeFields.index[name]
		if !known || len(values) > 1 {
			return false
		}
		s := values[0]
		if f := routeFields.fields[i]; f.text == nil {
			if s != "" { // numbers have rules of their own
				return false
			}
		} else if len(s) > f.max || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
			return false
		}
	}
	return true
}

// A field's text is refused for exactly the bytes that could end a line or a string somewhere else,
// and taken for everything that names and numbers are written with.
func TestCheckText_RefusesControlCharactersAndNothingElse(t *testing.T) {
	for r := rune(0); r < 0x3000; r++ {
		err := checkText("f", "a"+string(r)+"b", 64)
		if (err != nil) != unicode.IsControl(r) {
			t.Errorf("U+%04X: %v", r, err)
		}
	}
	if err := checkText("f", "a\xffb", 64); err == nil {
		t.Error("took a byte that is not UTF-8")
	}
	if err := checkText("f", strings.Repeat("a", 65), 64); err == nil {
		t.Error("took a text over its limit")
	}
}
