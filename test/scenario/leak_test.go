package scenario

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// canaries are secrets that can be mistaken for nothing else, by what they are.
type canaries map[string]string

// minRun is the least length of a part of a secret that is searched for by itself.
const minRun = 10

var (
	runs = regexp.MustCompile(`[A-Za-z0-9]+`)
	// oneKey is one key of a phone as a log or a journal may tell of it.
	oneKey = regexp.MustCompile(`(?i)(?:dtmf|digits?|signal|key)\b[^0-9\n]{0,24}([0-9])(?:[^0-9.:-]|$)`)
)

// forms are the ways in which a secret may stand in some bytes: as it is, and its longest parts of letters and digits, which no
// escaping of URLs, JSON, SIP or XML changes; those as hex; and in base64, at each of its three phases.
func forms(secret string) (list [][]byte) {
	parts := []string{secret}
	for _, run := range runs.FindAllString(secret, -1) {
		if len(run) >= minRun {
			parts = append(parts, run)
		}
	}
	for _, part := range parts {
		coded := hex.EncodeToString([]byte(part))
		for _, form := range []string{part, strings.ToLower(part), url.QueryEscape(part), coded, strings.ToUpper(coded)} {
			list = append(list, []byte(form))
		}
		for phase := range 3 {
			whole := base64.StdEncoding.EncodeToString([]byte("xxx"[:phase] + part))
			inner := whole[4 : len(whole)-4]
			list = append(list, []byte(inner), []byte(strings.NewReplacer("+", "-", "/", "_").Replace(inner)))
		}
	}
	return list
}

// found names the secrets that can be read in some bytes, or in what is packed in them. Those of digits alone are also found key by key.
func (c canaries) found(data []byte) (names []string) {
	data = append(slices.Clip(data), unpacked(data)...)
	var keys []byte
	for _, m := range oneKey.FindAllSubmatch(data, -1) {
		keys = append(keys, m[1]...)
	}
	keys = slices.Compact(keys) // one key is told of several times, as in the packets of RFC 4733
	for name, secret := range c {
		in := func(form []byte) bool { return bytes.Contains(data, form) }
		if slices.ContainsFunc(forms(secret), in) || bytes.Contains(keys, slices.Compact([]byte(secret))) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// gzipHead begins everything that gzip has packed (RFC 1952 section 2.3).
var gzipHead = []byte{0x1f, 0x8b, 8}

// unpacked is all that was packed with gzip in some bytes.
func unpacked(data []byte) (all []byte) {
	for {
		at := bytes.Index(data, gzipHead)
		if at < 0 {
			return all
		}
		data = data[at:]
		if r, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
			r.Multistream(false)
			text, _ := io.ReadAll(io.LimitReader(r, 64<<20)) // what there is of one that is cut off
			all = append(all, text...)
		}
		data = data[len(gzipHead):]
	}
}

// packed packs a text.
func packed(t *testing.T, text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Proves that the search for canaries finds one in every form in which daemons and databases write text, and nothing in their
// neighbours: a search that finds nothing else proves nothing.
func TestCanary_TheSearchFindsEveryForm(t *testing.T) {
	const secret, pin = `Kx7mQ2vW9pLb&R4tZ8nYcD3sF`, "739205184477"
	c := canaries{"secret": secret, "pin": pin}
	var pressed, packets, apart strings.Builder
	for i, digit := range pin {
		pressed.WriteString(`{"event":"DTMF","time_ms":17639,"digit":"` + string(digit) + "\"}\n")
		packets.WriteString(strings.Repeat(`[core] DTMF event packet: event `+string(digit)+", volume 10, end 0, duration 160\n", 3))
		apart.WriteString(`INFO Signal=` + string(digit) + "\r\nDuration=160\r\nseq " + string(rune('0'+i%7)) + "\n")
	}
	for _, row := range []struct{ name, text, want string }{
		{"as it is", "password=" + secret, "secret"},
		{"JSON", `{"password":"Kx7mQ2vW9pLb\u0026R4tZ8nYcD3sF"}`, "secret"},
		{"URL", "a=" + url.QueryEscape(secret), "secret"},
		{"XML", "<p>Kx7mQ2vW9pLb&amp;R4tZ8nYcD3sF</p>", "secret"},
		{"cut off", "…R4tZ8nYcD3sF", "secret"},
		{"lower case", strings.ToLower(secret), "secret"},
		{"hex", "0x" + hex.EncodeToString([]byte("Basic "+secret)), "secret"},
		{"HEX", strings.ToUpper(hex.EncodeToString([]byte(secret))), "secret"},
		{"base64", base64.StdEncoding.EncodeToString([]byte("user:" + secret)), "secret"},
		{"base64, one later", base64.RawURLEncoding.EncodeToString([]byte("userx:" + secret)), "secret"},
		{"base64, two later", base64.StdEncoding.EncodeToString([]byte("userxy:" + secret + "\n")), "secret"},
		{"digits", "digits=" + pin + "#", "pin"},
		{"key by key", pressed.String(), "pin"},
		{"packet by packet", packets.String(), "pin"},
		{"INFO by INFO", apart.String(), "pin"},
		{"packed", "{1}" + packed(t, `{"password":"`+secret+`"}`) + "{2}" + packed(t, "nothing"), "secret"},
		{"another", "Kx7mQ2vW9 R4tZ8nYcD 7392 0518 4627 " + base64.StdEncoding.EncodeToString([]byte("Kx7mQ2vW")), ""},
		{"part of the keys", pressed.String()[:pressed.Len()/2], ""},
	} {
		if got := strings.Join(c.found([]byte(row.text)), " "); got != row.want {
			t.Errorf("%s: found %q, want %q", row.name, got, row.want)
		}
	}
}
