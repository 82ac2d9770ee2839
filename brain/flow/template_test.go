package flow

import (
	"strings"
	"testing"
)

func TestTemplate_Renders(t *testing.T) {
	// Proves each filter, alone and in a row, on values that callers and networks send.
	vars := map[string]string{"n": "+49 (30) 12-3", "intl": "0049 30", "name": "Söhne", "long": strings.Repeat("ä", MaxValue), "ms": "1767603600000", "off": "2026-07-01T23:30:00+02:00"}
	value := func(name string) string { return vars[name] }
	for src, want := range map[string]string{
		"":                                     "",
		"plain { } }} text":                    "plain { } }} text",
		"a{{n}}b":                              "a+49 (30) 12-3b",
		"{{ missing }}":                        "",
		"{{ n | digits }}":                     "4930123",
		"{{ n|e164 }}":                         "4930123",
		"{{ intl | e164 }}":                    "4930",
		"{{ name | upper }}":                   "SÖHNE",
		"{{ name|upper|lower }}":               "söhne",
		`{{ missing | default:"a | b }} c" }}`: "a | b }} c",
		`{{ name | default:"x" }}`:             "Söhne",
		`{{ missing | default:"12" | say_digits }}`:   "1 2",
		"{{ n | say_digits }}":                        "4 9 3 0 1 2 3",
		`{{ ms | date:"YYYY/MM/DD HH:mm:ss" }}`:       "2026/01/05 09:00:00",
		`{{ off | date:"DD.MM. at HH" }}`:             "01.07. at 23",
		`{{ name | date }}`:                           "",
		`{{ missing | default:"2026-02-30" | date }}`: "",
	} {
		tpl, err := parseTemplate(src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if got := tpl.render(value, nil); got != want {
			t.Errorf("%s: %q, want %q", src, got, want)
		}
	}
	tpl, err := parseTemplate("x{{ long }}{{ n }}")
	if err != nil {
		t.Fatal(err)
	}
	text, whole := tpl.expand(value, nil)
	if whole || len(text) != MaxValue-1 || !strings.HasSuffix(text, "ä") {
		t.Errorf("a long text: whole %t, %d bytes", whole, len(text))
	}
}

func TestTemplate_RefusesWhatItDoesNotKnow(t *testing.T) {
	// Proves that a template with code, an unknown filter or a broken form is refused by name.
	for src, want := range map[string]string{
		"{{ a": "no }}", "{{ }}": "not the name", "{{ a b }}": "not the name", "{{ a() }}": "not the name", "{{ a | b }}": "not a filter",
		"{{ a | upper:\"x\" }}": "no argument", "{{ a | default }}": "wants an argument", "{{ a | default:x }}": "not in double quotes",
		"{{ a | default:\"x }}": "no }}", "\xff": "not UTF-8", strings.Repeat("x", maxTemplate+1): "more than 4096",
		strings.Repeat("{{a}}", maxParts+1): "more than 64 parts", "{{ a" + strings.Repeat("|upper", maxFilters+1) + "}}": "more than 8 filters",
	} {
		if _, err := parseTemplate(src); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", src, err, want)
		}
	}
}

func TestPath_Finds(t *testing.T) {
	// Proves what paths find in an answer, and what they are refused for.
	doc, ok := parseBody(`{"a": {"b": [{"c": "x"}, 12.50, true, null]}, "d.e": "y", "z": {"q": [1, "two"]}}`)
	if !ok {
		t.Fatal("the document is JSON")
	}
	for src, want := range map[string]string{"$.a.b[0].c": "x", "$.a.b[1]": "12.50", "$.a.b[2]": "true", "$.a.b[3]": "", "$.a.b[4]": "",
		"$.a.b.c": "", "$[0]": "", `$["d.e"]`: "y", "$.z": `{"q":[1,"two"]}`, "$.a.b[0].c.d": "", "$.none.x": ""} {
		p, err := parsePath(src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
		} else if got := p.find(doc); got != want {
			t.Errorf("%s: %q, want %q", src, got, want)
		}
	}
	for _, src := range []string{"", "a", "$a", "$.", "$..a", "$.*", "$[x]", "$[-1]", "$[10000]", "$[1", `$["a`, `$[""]`, "$.a b", "$" + strings.Repeat(".a", 17), "$." + strings.Repeat("a", 300)} {
		if _, err := parsePath(src); err == nil {
			t.Errorf("%.40q was taken", src)
		}
	}
	for _, body := range []string{"", "{", "{} {}", strings.Repeat(" ", MaxBody) + "1"} {
		if _, ok := parseBody(body); ok {
			t.Errorf("%.20q was taken for one JSON value", body)
		}
	}
}

func TestComparison_OrdersNumbersAndText(t *testing.T) {
	// Proves that numbers are compared exactly, text by bytes, and a number with a text not at all.
	for _, c := range []struct {
		left, op, right string
		want            bool
	}{
		{"9", "lt", "10", true}, {"09", "le", "9.0", true}, {"-1", "gt", "-2", true}, {"99999999999999999998", "lt", "99999999999999999999", true},
		{"0.1", "ge", "0.10", true}, {"a", "lt", "b", true}, {"a", "lt", "5", false}, {"a", "ge", "5", false}, {"", "lt", "5", false}, {"", "ge", "", false},
		{"1.0", "eq", "1", false}, {"x", "ne", "x", false}, {"abc", "contains", "", true}, {"abc", "starts", "bc", false}, {"1e3", "lt", "5", false},
	} {
		cmp := comparison{left: template{{text: c.left}}, op: c.op, right: template{{text: c.right}}}
		if got := cmp.holds(nil); got != c.want {
			t.Errorf("%q %s %q: %t", c.left, c.op, c.right, got)
		}
	}
}
