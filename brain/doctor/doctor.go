// Package doctor judges whether a machine of the platform is shut as docs/security.md says: facts in, findings out. Gathering
// the facts is the command's. No value of a secret is in a finding.
package doctor

import (
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
)

// Level says how bad a finding is.
type Level string

// Levels of findings.
const (
	OK   Level = "OK"
	Warn Level = "WARN" // to be known or mended soon; also what could not be looked at
	Fail Level = "FAIL" // a door stands open, or will not open for whom it should
)

// Finding is one line of the report.
type Finding struct {
	Level Level  `json:"level"`
	What  string `json:"what"` // that was looked at
	Text  string `json:"text"`
	Cure  string `json:"cure,omitempty"` // what to do; "" with OK
}

// Facts are what was found on the machine, and of the installation as far as it could be asked.
type Facts struct {
	Listeners []Listener
	Files     []File
	Secrets   []Secret
	Certs     []Cert
	Versions  []Version
	Bans      *Bans  // nil: no node agent is set up here
	Clock     *Clock // nil: the system does not say
	Asked     []Asked
	Unread    []Unread

	Nets     []Nets
	Ports    *Ports    // nil: no node, or no table of the kernel is set up
	Learning *Learning // nil: no rtpengine
	Mends    []Mend    // of daemons that run here
	Sockets  []Socket
	Scanned  bool // Sockets were looked for
}

// Listener is a port of control: nobody but this machine may reach it.
type Listener struct {
	What    string
	Setting string // that says its address
	Port    uint16
	Bound   []netip.Addr // on which it is listened, by whomever
}

// File is a file with a secret, or a unix socket of control.
type File struct {
	What string
	brain.KeyFile
	User    uint32 // who runs the program that it is for (uid)
	Readers brain.KeyReaders
}

// Secret is a password or a key as it stands in a file.
type Secret struct {
	What, Path, Value string
}

// Cert is a file with a certificate, or with those of several authorities.
type Cert struct {
	What, Path string
	Ends       []End // of a holder's certificate: its own alone
}

// End of a certificate.
type End struct {
	Name     string // of its subject
	NotAfter time.Time
}

// Version is what a program says of itself.
type Version struct {
	Program string // as in Holes: kamailio, rtpengine, freeswitch
	Where   string // "here", or the name of a node
	Text    string
}

// Bans is what the node's guard has in the kernel.
type Bans struct {
	Table   string // that it is set up with; "" = none
	Present bool   // it is in the kernel
	Agent   bool   // the agent's process was found
	Able    bool   // it holds CAP_NET_ADMIN

	Uncounted string // why this kernel does not count connections, "" = it does
}

// Clock is the machine's own.
type Clock struct {
	Synchronized bool
	Brain        string        // whose clock it was held against; "" = nobody's
	Ahead        time.Duration // of that one
}

// Asked is a question to a brain.
type Asked struct {
	What, URL string
	Error     string // "" = it was answered, and the key, if there was one, was taken
	KeyFile   string // whose key was shown; "" = none
}

// Unread is what could not be looked at.
type Unread struct {
	What, Error string
}

// Bounds of secrets in bytes, certificates and clocks.
const (
	minSecret  = 16
	goodSecret = 32
	fewLetters = 8 // different bytes; a random secret has more
	certSoon   = 30 * 24 * time.Hour
	clockOff   = 5 * time.Second
	clockLost  = 60 * time.Second // orders and tokens are refused by then
)

// Examine lists what is well and what is not, in the order of the facts.
func Examine(now time.Time, f Facts) []Finding {
	var out []Finding
	for _, l := range f.Listeners {
		out = append(out, l.examine())
	}
	if f.Scanned {
		out = append(out, examineSockets(f.Sockets))
	}
	for _, n := range f.Nets {
		out = append(out, n.examine())
	}
	for _, file := range f.Files {
		out = append(out, file.examine())
	}
	for _, s := range f.Secrets {
		out = append(out, s.examine())
	}
	for _, c := range f.Certs {
		out = append(out, c.examine(now))
	}
	for _, v := range f.Versions {
		out = append(out, v.examine()...)
	}
	if f.Bans != nil {
		out = append(out, f.Bans.examine())
	}
	if f.Ports != nil {
		out = append(out, f.Ports.examine())
	}
	if f.Learning != nil {
		out = append(out, f.Learning.examine())
	}
	for _, m := range f.Mends {
		out = append(out, m.examine())
	}
	if f.Clock != nil {
		out = append(out, f.Clock.examine())
	}
	for _, a := range f.Asked {
		out = append(out, a.examine())
	}
	for _, u := range f.Unread {
		out = append(out, Finding{Warn, u.What, "not looked at: " + u.Error, "run it as root, or say where it stands: sipio doctor --help"})
	}
	return out
}

// Worst is the gravest level of a report.
func Worst(findings []Finding) Level {
	worst := OK
	for _, f := range findings {
		if f.Level == Fail || f.Level == Warn && worst == OK {
			worst = f.Level
		}
	}
	return worst
}

func (l Listener) examine() Finding {
	var open []string
	for _, a := range l.Bound {
		if !a.Unmap().IsLoopback() {
			open = append(open, a.String())
		}
	}
	switch {
	case len(open) > 0:
		return Finding{Fail, l.What, fmt.Sprintf("port %d is open on %s", l.Port, strings.Join(open, ", ")), fmt.Sprintf("bind it to 127.0.0.1 (%s) and restart the program", l.Setting)}
	case len(l.Bound) == 0:
		return Finding{Warn, l.What, fmt.Sprintf("nobody listens on port %d", l.Port), fmt.Sprintf("start the program (systemctl status 'sipio-*'), or name the file that says its port (%s): sipio doctor --help", l.Setting)}
	}
	return Finding{OK, l.What, fmt.Sprintf("port %d is on loopback alone", l.Port), ""}
}

func (f File) examine() Finding {
	fault, cure := f.Fault(f.User, f.Readers)
	mode := f.Mode.Perm()
	if f.Mode.Type() == fs.ModeSocket { // a group may be let in to it, and connects by writing
		fault, cure = "", ""
		if mode&0o007 != 0 {
			fault, cure = fmt.Sprintf("%s is open to every user: mode %04o", f.Path, mode), "chmod o= "+f.Path
		}
	}
	if fault != "" {
		return Finding{Fail, f.What, fault, cure}
	}
	return Finding{OK, f.What, fmt.Sprintf("%s has mode %04o", f.Path, mode), ""}
}

// defaults are what programs, samples and tutorials put where a password belongs.
var defaults = []string{"change-me", "changeme", "cluecon", "password", "secret", "sipio", "default"}

func (s Secret) examine() Finding {
	cure := "put a random one there (openssl rand -hex 24), at both ends, and restart"
	lower, letters := strings.ToLower(s.Value), map[byte]bool{}
	for _, d := range defaults {
		if lower == d || d == defaults[0] && strings.HasPrefix(lower, d) {
			return Finding{Fail, s.What, "the one in " + s.Path + " is a default that everybody knows", cure}
		}
	}
	for i := range len(s.Value) {
		letters[s.Value[i]] = true
	}
	switch {
	case len(s.Value) < minSecret || len(letters) < fewLetters:
		return Finding{Fail, s.What, fmt.Sprintf("the one in %s can be guessed: %d characters, %d different ones", s.Path, len(s.Value), len(letters)), cure}
	case len(s.Value) < goodSecret:
		return Finding{Warn, s.What, fmt.Sprintf("the one in %s is short: %d characters, better %d", s.Path, len(s.Value), goodSecret), cure}
	}
	return Finding{OK, s.What, "the one in " + s.Path + " is long and no default", ""}
}

func (c Cert) examine(now time.Time) Finding {
	if len(c.Ends) == 0 {
		return Finding{Fail, c.What, c.Path + " holds no certificate", "put the certificate there, in PEM"}
	}
	ended := 0
	for _, e := range c.Ends {
		if !e.NotAfter.After(now) {
			ended++
		}
	}
	first := slices.MinFunc(c.Ends, func(a, b End) int { return a.NotAfter.Compare(b.NotAfter) })
	left, day := first.NotAfter.Sub(now), first.NotAfter.UTC().Format(time.DateOnly)
	cure := "renew it: sipio ca renew for one of the platform's own authority"
	name := c.Path
	if len(c.Ends) > 1 {
		name = fmt.Sprintf("%s (%s, 1 of %d)", c.Path, first.Name, len(c.Ends))
		cure = "put the authority's new certificate there, or take the old one out when nobody is known by it"
	}
	switch {
	case ended == len(c.Ends):
		return Finding{Fail, c.What, name + " ended on " + day, cure}
	case ended > 0:
		return Finding{Warn, c.What, name + " ended on " + day, cure}
	case left < certSoon:
		return Finding{Warn, c.What, fmt.Sprintf("%s ends on %s, in %d days", name, day, int(left.Hours()/24)), cure}
	}
	return Finding{OK, c.What, name + " is good until " + day, ""}
}

func (b Bans) examine() Finding {
	const what = "bans in the kernel"
	switch {
	case b.Table == "":
		return Finding{Warn, what, "none: ban-table is empty, floods reach Kamailio's sockets", "set ban-table (SIPIO_NODE_BAN_TABLE=sipio) and give the agent CAP_NET_ADMIN"}
	case !b.Present:
		return Finding{Fail, what, "nftables has no table inet " + b.Table, "start sipio-node; its log says what it lacks: journalctl -u sipio-node"}
	case b.Agent && !b.Able:
		return Finding{Fail, what, "sipio-node lacks CAP_NET_ADMIN: it can neither ban nor lift", "AmbientCapabilities=CAP_NET_ADMIN in its unit"}
	}
	if b.Uncounted != "" {
		return Finding{Warn, what, b.Uncounted + ": connections of one address are not limited, it can take all that Kamailio has", "a kernel with sock_diag (CONFIG_INET_TCP_DIAG, module tcp_diag)"}
	}
	return Finding{OK, what, "nftables has the table inet " + b.Table, ""}
}

func (c Clock) examine() Finding {
	const what, cure = "clock", "run chrony or systemd-timesyncd (apt-get install chrony), here and there"
	off := c.Ahead.Abs()
	switch {
	case c.Brain != "" && off >= clockLost:
		return Finding{Fail, what, fmt.Sprintf("%v off that of %s: orders and certificates are refused", off.Round(time.Second), c.Brain), cure}
	case c.Brain != "" && off >= clockOff:
		return Finding{Warn, what, fmt.Sprintf("%v off that of %s", off.Round(time.Second), c.Brain), cure}
	case !c.Synchronized:
		return Finding{Warn, what, "the kernel does not know it as synchronized", cure}
	}
	return Finding{OK, what, "synchronized", ""}
}

func (a Asked) examine() Finding {
	switch {
	case a.Error != "":
		return Finding{Fail, a.What, a.URL + ": " + a.Error, "look whether it answers (curl " + a.URL + "/health) and what its log says (journalctl -u sipio-brain); its allow-peers must have this machine's address"}
	case a.KeyFile != "":
		return Finding{OK, a.What, a.URL + " answers, and takes the key in " + a.KeyFile, ""}
	}
	return Finding{OK, a.What, a.URL + " answers", ""}
}
