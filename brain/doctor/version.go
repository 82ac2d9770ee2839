package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Hole is a known hole of a program that concerns us.
type Hole struct {
	Program string
	ID      string
	What    string   // what a stranger can do
	Level   Level    // Fail: overhear, inject, get in, end the process; Warn: disturb some calls
	Since   string   // the first version that has it; "" = every old one
	Fixed   []string // the first good version of each series that was mended, rising: all from the last on are good
	Debian  []string // packages of Debian in which an older version was mended
	Source  string
}

const advisories = "github.com/EnableSecurity/advisories "

// Holes is short on purpose: what can be done from the network to a program as sipio runs it. Package sources of the
// machine know more: apt list --upgradable.
var Holes = []Hole{
	{"kamailio", "CVE-2018-8828", "a REGISTER writes past a buffer", Fail, "", []string{"4.4.7", "5.0.6", "5.1.2"}, nil, advisories + "ES2018-05"},
	{"kamailio", "CVE-2020-28361", "headers of ours can be smuggled in by phones", Fail, "", []string{"5.4.0"}, nil, advisories + "ES2020-01"},
	// The advisory names 13.4.1.1 alone. Of the older series its author says 11.5.1.41 (sipwise/rtpengine#1992), which has two
	// commits more than 11.5.1.40, "fix heuristic learning mode" and its test; the others are the first tags with the same commit.
	{"rtpengine", "CVE-2025-53399", "audio of calls can be overheard and injected by strangers", Fail, "",
		[]string{"10.5.9.1", "11.5.1.41", "12.5.1.35", "13.2.1.14", "13.3.1.6", "13.4.1.1"}, []string{"10.5.3.5-1+deb12u1"},
		advisories + "ES2025-01, sipwise/rtpengine#1992 and tags with \"fix heuristic learning mode\", Debian's changelog"},
	// The other half: the tags with "pull up SRTP decryption". Before 11.4 the source was looked at after it.
	{"rtpengine", "CVE-2025-53399 (SRTP)", "packets that are not of the call can lead its SRTP away while it begins", Warn, "11.4",
		[]string{"11.5.1.50", "12.5.1.48", "13.4.1.1"}, nil, advisories + "ES2025-01, tags of sipwise/rtpengine with \"pull up SRTP decryption\""},
	{"rtpengine", "CVE-2023-51275", "WebRTC calls can be ended by strangers while they begin", Warn, "",
		[]string{"8.5.12.2", "9.5.8.2", "10.5.6.2", "11.5.1.16", "12.0.1.3", "12.1.1.2"}, nil, advisories + "ES2023-03"},
	{"freeswitch", "CVE-2021-41145", "a flood of SIP fills the memory until the process ends", Fail, "", []string{"1.10.7"}, nil, advisories + "ES2021-06"},
	{"freeswitch", "CVE-2023-51443", "calls with DTLS can be ended by strangers while they begin", Warn, "", []string{"1.10.11"}, nil, advisories + "ES2023-02"},
}

// number finds the version in what a program says, with a revision of Debian when there is one: "10.5.3.5-1+deb12u1".
func number(text string) (version, debian string) {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\n(),~", r) }) {
		word = strings.TrimPrefix(strings.TrimPrefix(word, "mr"), "v")
		version, _, packaged := strings.Cut(word, "-")
		if len(parts(version)) < 2 {
			continue
		}
		if packaged {
			debian = word
		}
		return version, debian
	}
	return "", ""
}

// parts are the numbers of a version, nil when it is none.
func parts(version string) []int {
	var out []int
	for _, p := range strings.Split(version, ".") {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil {
			return nil
		}
		out = append(out, int(n))
	}
	return out
}

// in says whether a version has the hole.
func (h Hole) in(version, debian string) bool {
	for _, good := range h.Debian {
		base, want := update(good)
		if have, n := update(debian); have == base && n >= want {
			return false
		}
	}
	v := parts(version)
	if slices.Compare(v, parts(h.Since)) < 0 {
		return false
	}
	for _, good := range h.Fixed {
		if g := parts(good); slices.Compare(v, g) >= 0 && slices.Equal(v[:2], g[:2]) {
			return false
		}
	}
	return slices.Compare(v, parts(h.Fixed[len(h.Fixed)-1])) < 0
}

// cure says which version to upgrade to.
func (h Hole) cure(isDebian bool) string {
	text := "upgrade; the first good versions of their series are " + strings.Join(h.Fixed, ", ")
	switch {
	case len(h.Debian) > 0:
		text += "; of Debian's packages (apt-get update, apt-get upgrade) " + strings.Join(h.Debian, ", ")
	case isDebian:
		text += "; no package of Debian with the mend is known here"
	}
	return text + " (" + h.Source + ")"
}

// update parts a package's version from the number of its update: 10.5.3.5-1+deb12u1 is u1 of 10.5.3.5-1+deb12.
func update(pkg string) (string, int) {
	i := strings.LastIndexByte(pkg, 'u')
	if i < 0 {
		return pkg, 0
	}
	n, err := strconv.Atoi(pkg[i+1:])
	if err != nil {
		return pkg, 0
	}
	return pkg[:i], n
}

func (v Version) examine() []Finding {
	what := cmp.Or(v.Program, "program") + " " + v.Where
	version, debian := number(v.Text)
	if version == "" {
		return []Finding{{Warn, what, fmt.Sprintf("no version in %.60q", v.Text), "see by hand whether it is current: apt list --upgradable"}}
	}
	shown := cmp.Or(debian, version)
	var out []Finding
	for _, h := range Holes {
		if h.Program == v.Program && h.in(version, debian) {
			out = append(out, Finding{h.Level, what, fmt.Sprintf("%s has %s: %s", shown, h.ID, h.What), h.cure(debian != "")})
		}
	}
	if len(out) == 0 {
		out = append(out, Finding{OK, what, shown + " has none of the holes in the list", ""})
	}
	return out
}
