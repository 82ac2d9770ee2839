package guard

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sipio/sipio/brain/api"
)

const sample = "node=node-1\n" +
	"type=offence&time_ms=1700000000123&addr=192.0.2.7&tier=ua&kind=scanner&count=1&known=0&term=3600&evidence=%22svmap%22%20in%20OPTIONS\n" +
	"type=known&time_ms=1700000000124&addr=2001:db8:0:0:1:0:0:5&aor=sip:a%40b\n"

func TestParse_ReadsWhatKamailioWrites(t *testing.T) {
	// Proves the two kinds of lines, and that a bad one costs no other.
	lines, bad, err := parse([]byte(sample + "type=offence&addr=nobody\n\n" + "type=known&addr=192.0.2.8"))
	if err != nil || len(bad) != 1 || len(lines) != 3 {
		t.Fatalf("%d lines, bad %v, %v", len(lines), bad, err)
	}
	o := lines[0].offence
	if o == nil || *o != (api.Offence{Addr: "192.0.2.7", Tier: "ua", Kind: "scanner", Count: 1, TimeMS: 1700000000123, Evidence: `"svmap" in OPTIONS`}) || lines[0].term.Seconds() != 3600 {
		t.Errorf("offence %+v, term %v", o, lines[0].term)
	}
	if lines[1].offence != nil || lines[1].addr.String() != "2001:db8::1:0:0:5" {
		t.Errorf("known %+v", lines[1])
	}
}

func TestParse_RefusesWhatIsNone(t *testing.T) {
	// Proves that each malformed line is refused by itself, and a post without its first line as a whole, by table.
	for _, text := range []string{
		"", "type=offence", "type=other&addr=192.0.2.7", "type=offence&addr=192.0.2.7&tier=nft&kind=flood", "type=offence&addr=192.0.2.7&tier=ua&kind=flood",
		"type=offence&addr=192.0.2.7&tier=ua&kind=scanner&count=-1", "type=offence&addr=192.0.2.7&tier=ua&kind=scanner&term=99999999999", "type=known&addr=%zz",
		"type=offence&addr=192.0.2.7&tier=ua&kind=scanner&evidence=" + strings.Repeat("x", maxLine),
	} {
		if lines, bad, err := parse([]byte("node=a\n" + text)); len(lines) != 0 || err != nil || text != "" && len(bad) != 1 {
			t.Errorf("%.60q: lines %v, bad %v, %v", text, lines, bad, err)
		}
	}
	for _, body := range []string{"", "type=known&addr=192.0.2.7", "%zz"} {
		if _, _, err := parse([]byte(body)); err == nil {
			t.Errorf("%q is taken", body)
		}
	}
	if lines, bad, err := parse([]byte("node=a\n" + strings.Repeat("type=known&addr=192.0.2.7\n", maxLines+3))); len(lines) != maxLines || len(bad) != 3 || err != nil {
		t.Errorf("%d lines, %d bad, %v: want %d and 3", len(lines), len(bad), err, maxLines)
	}
}

func FuzzParse(f *testing.F) {
	// Proves that whatever Kamailio is made to say is refused or within the bounds that the brain takes.
	f.Add([]byte(sample))
	f.Add([]byte("node=a\ntype=offence&addr=::1&tier=score&kind=authfail&evidence=%ff%fe" + strings.Repeat("%c3%a9", 200)))
	f.Fuzz(func(t *testing.T, body []byte) {
		lines, _, err := parse(body)
		if err != nil && len(lines) > 0 {
			t.Fatal("lines of a post that is none")
		}
		for _, l := range lines {
			if !l.addr.IsValid() {
				t.Fatal("a line without an address")
			}
			if o := l.offence; o != nil && (len(o.Evidence) > api.MaxEvidence || !utf8.ValidString(o.Evidence) || o.Count < 0 || o.TimeMS < 0 || l.term < 0) {
				t.Fatalf("out of bounds: %+v", o)
			}
		}
	})
}
