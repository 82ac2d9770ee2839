package guard

import (
	"bytes"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Bounds of what Kamailio posts.
const (
	maxLines = 500
	maxLine  = 4 << 10
	maxCount = 1 << 20
	maxTerm  = 31 * 24 * 3600 // seconds
)

// line is one thing that Kamailio tells: an offence, or that a device has authenticated.
type line struct {
	addr    netip.Addr
	offence *api.Offence  // nil: the address is known
	term    time.Duration // that Kamailio has banned it; 0 = it has not
}

var (
	tiers = []string{api.TierPike, api.TierUA, api.TierScore}
	kinds = []string{api.OffenceRequests, api.OffenceScanner, api.OffenceAuthFail, api.OffenceChallenge, api.OffenceUnknown, api.OffenceSource, api.OffenceSpray}
)

// parse reads the lines of one post: node=NAME, then a form a line. bad are the errors of lines that are left out; they
// cost no other line. The error is that of a post that is none.
func parse(body []byte) (lines []line, bad []error, err error) {
	first, rest, _ := bytes.Cut(body, []byte("\n"))
	if head, err := url.ParseQuery(string(bytes.TrimSpace(first))); err != nil || head.Get("node") == "" {
		return nil, nil, fmt.Errorf("first line: want node=…, not %.80q", first)
	}
	for n := 2; len(rest) > 0; n++ {
		var text []byte
		text, rest, _ = bytes.Cut(rest, []byte("\n"))
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		l, err := parseLine(text)
		if err == nil && len(lines) >= maxLines {
			err = fmt.Errorf("more than %d lines", maxLines)
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		lines = append(lines, l)
	}
	return lines, bad, nil
}

func parseLine(text []byte) (l line, err error) {
	if len(text) > maxLine {
		return l, fmt.Errorf("longer than %d bytes", maxLine)
	}
	form, err := url.ParseQuery(string(text))
	if err != nil {
		return l, fmt.Errorf("parse form: %w", err)
	}
	if l.addr, err = netip.ParseAddr(strings.Trim(form.Get("addr"), "[]")); err != nil {
		return l, err
	}
	switch form.Get("type") {
	case "known":
		return l, nil
	case "offence":
	default:
		return l, fmt.Errorf("type %.40q", form.Get("type"))
	}
	o := api.Offence{Addr: l.addr.Unmap().String(), Tier: form.Get("tier"), Kind: form.Get("kind"), Known: form.Get("known") == "1", Proven: form.Get("proven") == "1", Evidence: clip(form.Get("evidence"))}
	if !slices.Contains(tiers, o.Tier) || !slices.Contains(kinds, o.Kind) {
		return l, fmt.Errorf("tier %.40q, kind %.40q", o.Tier, o.Kind)
	}
	var count, term int64
	for _, field := range []struct {
		name string
		at   *int64
		most int64
	}{{"time_ms", &o.TimeMS, 1 << 46}, {"count", &count, maxCount}, {"term", &term, maxTerm}} {
		given := form.Get(field.name)
		if given == "" {
			continue
		}
		if *field.at, err = strconv.ParseInt(given, 10, 64); err != nil || *field.at < 0 || *field.at > field.most {
			return l, fmt.Errorf("%s %.40q is not a number in range", field.name, given)
		}
	}
	o.Count, l.term, l.offence = int(count), time.Duration(term)*time.Second, &o
	return l, nil
}

// clip makes a text one that the brain takes: UTF-8, at most MaxEvidence bytes.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= api.MaxEvidence {
		return s
	}
	return strings.ToValidUTF8(s[:api.MaxEvidence], "")
}
