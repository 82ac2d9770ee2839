package guard

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sipio/sipio/brain/api"
)

// MinSignature and MaxSignature bound a signature in bytes, without its header: a shorter one is in too many names.
const (
	MinSignature = 4
	MaxSignature = 64
)

// signatures are what tools that scan and attack SIP servers call themselves. They are looked for in lower case anywhere in User-Agent, behind
// "from:" in From. A hit is a ban by the first packet, so what is also a part of the name of a phone, a library or a monitor is not here,
// although public lists have it: iwar and sipcli without their version (Tiwari, SIPClient), gulp, smap and nmap bare, masscan bare (Tomas Scanlon),
// sipscan (Scandinavia), sipsak (monitoring), sipp (tests), test agent, a_b_c, dr.pes, CSipSimple, eyeBeam, X-Lite and the VoIP SDKs (phones).
//
// Sources: the example configuration of Kamailio (kamailio.cfg, #REQINIT: friendly-scanner, sipcli, sipvicious, VaxSIPUserAgent); the lists of
// sipXcom's DoS rules and of FreePBX, FusionPBX and Asterisk users for iptables and fail2ban; the defaults in the source of the tools themselves,
// where a comment says so.
var signatures = []string{
	"friendly-scanner", // SIPVicious: svmap, svwar, svcrack
	"friendly-request",
	"sipvicious",
	"svmap", "svwar", "svcrack", "svcrash", "svreport",
	"from:sipvicious",      // its From: "sipvicious" <sip:100@1.1.1.1>
	"from:sip:100@1.1.1.1", // the same under another name
	"from:sip:nm@nm",       // the probe SIPOptions of nmap-service-probes, which others send as well
	"nmap nse",             // nmap's library sip.lua
	"nmap-sip",
	"sipcli/", // SIPCLI, with its version, which calls to premium numbers come from
	"vaxsipuseragent", "vaxipuseragent",
	"sip-scan",
	"sundayddr", "sundayaddr",
	"pplsip",           // SIPPTS, its tools in Python and the later ones in Perl
	"sipptk", "sippts", // the earlier ones
	"siparmyknife", // a fuzzer
	"sivus",        // a vulnerability scanner
	"smap 0.",      // smap, with its version
	"iwar/",        // iWar, a war dialer, with its version
	"warvox",       // another
	"voiphopper",
	"viproy", // modules for Metasploit
	"metasploit",
	"mr.sip",                        // Mr.SIP, an attack tool
	"bluebox-scanner", "bluebox-ng", // Bluebox-ng, in its source
	"sipfurious",
	"sipbrute", "sip-brute", "sipcrack", "sip-crack", "sipflood", "sipfuzz", "sipbomber", "sipflanker",
	"masscan/", "zgrab/", "zmap/", "openvas", "nessus",
}

// Signatures are the built-in signatures with more of the operator's, sorted, each once.
func Signatures(more []string) []string {
	all := slices.Concat(signatures, more)
	slices.Sort(all)
	return slices.Compact(all)
}

// Scanner is the signature by which a node takes a sender for a scanner, as kamailio-cfg/route/guard.cfg looks for it; "" = it does not. agent and
// from are User-Agent and From as they are written.
func Scanner(list []string, agent, from, callID string) string {
	agent, from, callID = strings.ToLower(agent), strings.ToLower(from), strings.ToLower(callID)
	for _, s := range list {
		in := agent
		mark, named := strings.CutPrefix(s, "from:")
		if named {
			in = from
		} else if mark, named = strings.CutPrefix(s, "call-id:"); named {
			in = callID
		}
		if strings.Contains(in, mark) {
			return s
		}
	}
	return ""
}

// ReadSignatures reads signatures, one a line, in any case; what follows a # is a comment.
func ReadSignatures(text string) ([]string, error) {
	var list []string
	if !utf8.ValidString(text) {
		return nil, errors.New("line 1 and on: it is not UTF-8")
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.ToLower(strings.TrimSpace(line)); line == "" {
			continue
		}
		if err := checkSignature(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if list = append(list, line); len(list) > api.MaxGuardSignatures-len(signatures) {
			return nil, fmt.Errorf("line %d: more than %d signatures", n, api.MaxGuardSignatures-len(signatures))
		}
	}
	return list, nil
}

func checkSignature(s string) error {
	mark := s
	for _, header := range [...]string{"call-id:", "from:"} {
		mark = strings.TrimPrefix(mark, header)
	}
	switch {
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("%q has characters that cannot be printed", s)
	case len(mark) < MinSignature || len(mark) > MaxSignature:
		return fmt.Errorf("%q: a signature has %d to %d bytes, without its header", s, MinSignature, MaxSignature)
	}
	return nil
}
