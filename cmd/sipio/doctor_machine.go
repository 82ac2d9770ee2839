package main

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/doctor"
	"github.com/sipio/sipio/internal/keyfile"
)

// settings are what systemd gives a process: variables, credentials and a user.
type settings struct {
	env, credentials map[string]string
	user             string // "" = root, or one that systemd makes
}

func (s settings) lookup(name string) (string, bool) {
	v, ok := s.env[name]
	return v, ok
}

// readSetUp reads a unit, what was added to it (systemctl edit), and then its file of variables, which counts more. None of
// them need be there.
func readSetUp(unit, envFile string) (settings, error) {
	s := settings{env: map[string]string{}, credentials: map[string]string{}}
	added, err := filepath.Glob(unit + ".d/*.conf")
	if err != nil {
		return s, fmt.Errorf("units: %w", err)
	}
	for _, path := range append([]string{unit}, added...) {
		text, err := readSmall(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
		for line := range strings.Lines(string(text)) {
			s.setUnit(line)
		}
	}
	text, err := readSmall(envFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	for line := range strings.Lines(string(text)) {
		s.set(line)
	}
	for name, value := range s.env {
		if credential, found := strings.CutPrefix(value, "%d/"); found {
			s.env[name] = s.credentials[credential]
		}
	}
	return s, nil
}

// uid is that of the user of a process; without one in its unit that of the owner of its folder, root when there is none.
func (s settings) uid(folder string) uint32 {
	if found, err := user.Lookup(s.user); err == nil {
		if id, err := strconv.ParseUint(found.Uid, 10, 32); err == nil {
			return uint32(id)
		}
	}
	info, err := os.Stat(folder)
	if err != nil {
		return 0
	}
	return keyfile.Of(folder, info).Owner
}

// setUnit takes the lines of a unit that give its process something.
func (s *settings) setUnit(line string) {
	if assignment, found := strings.CutPrefix(line, "Environment="); found {
		s.set(assignment)
	}
	if credential, found := strings.CutPrefix(line, "LoadCredential="); found {
		name, path, _ := strings.Cut(credential, ":")
		s.credentials[name] = strings.TrimSpace(path)
	}
	if name, found := strings.CutPrefix(line, "User="); found {
		s.user = strings.TrimSpace(name)
	}
}

// set takes NAME=value, the value perhaps in quotes; anything else is a comment.
func (s settings) set(line string) {
	line = strings.TrimSpace(line)
	if len(line) > 1 && (line[0] == '"' || line[0] == '\'') && line[len(line)-1] == line[0] {
		line = line[1 : len(line)-1]
	}
	name, value, found := strings.Cut(line, "=")
	if !found || strings.HasPrefix(name, "#") {
		return
	}
	if len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
		value = value[1 : len(value)-1]
	}
	s.env[name] = value
}

// States of sockets in /proc/net that take what comes.
const (
	stateListen = "0A" // TCP
	stateOpen   = "07" // UDP, not connected
)

// listening reads the local addresses of sockets in a state from the text of a table of /proc/net.
func listening(table, state string) []netip.AddrPort {
	var out []netip.AddrPort
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[3] != state {
			continue
		}
		addr, port, _ := strings.Cut(fields[1], ":")
		raw, err := hex.DecodeString(addr)
		n, errPort := strconv.ParseUint(port, 16, 16)
		if err != nil || errPort != nil || len(raw)%4 != 0 {
			continue
		}
		for i := 0; i < len(raw); i += 4 { // words in the order of the machine, which is little-endian where sipio runs
			slices.Reverse(raw[i : i+4])
		}
		if ip, ok := netip.AddrFromSlice(raw); ok {
			out = append(out, netip.AddrPortFrom(ip, uint16(n)))
		}
	}
	return out
}

// listener adds the fact where a port of control is listened on; network is tcp or udp, address what the setting says.
func (e *exam) listener(what, setting, network, address string) {
	_, text, err := net.SplitHostPort(address)
	port, errPort := strconv.ParseUint(text, 10, 16)
	if err := errors.Join(err, errPort); err != nil {
		e.unread(what, fmt.Errorf("address %q: %w", address, err))
		return
	}
	state := map[string]string{"tcp": stateListen, "udp": stateOpen}[network]
	l := doctor.Listener{What: what, Setting: setting, Port: uint16(port)}
	for _, table := range []string{network, network + "6"} {
		text, err := os.ReadFile("/proc/self/net/" + table)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
			e.unread(what, err)
			return
		}
		for _, at := range listening(string(text), state) {
			if at.Port() == l.Port {
				l.Bound = append(l.Bound, at.Addr())
			}
		}
	}
	e.facts.Listeners = append(e.facts.Listeners, l)
}

// of says whom the files are for that are looked at next.
type of struct {
	user    uint32 // who runs the program
	readers brain.KeyReaders
}

// file adds owner and mode of a file or unix socket, "" and what is not there excepted when it may be missing.
func (e *exam) file(whose of, what, path string, missing bool) bool {
	info, err := os.Stat(path)
	switch {
	case path == "", missing && errors.Is(err, fs.ErrNotExist):
		return false
	case err != nil:
		e.unread(what, err)
		return false
	}
	e.facts.Files = append(e.facts.Files, doctor.File{What: what, KeyFile: keyfile.Of(path, info), User: whose.user, Readers: whose.readers})
	return true
}

// key adds the mode of a file and the secret in it.
func (e *exam) key(whose of, what, path string, missing bool) {
	if !e.file(whose, what, path, missing) {
		return
	}
	value, err := readSmall(path)
	if err != nil {
		e.unread(what, err)
		return
	}
	e.secret(what, path, strings.TrimSpace(string(value)))
}

func (e *exam) secret(what, path, value string) {
	e.facts.Secrets = append(e.facts.Secrets, doctor.Secret{What: what, Path: path, Value: value})
}

// cert adds the end of the first certificate in a PEM file, which is its holder's; authorities the ends of all.
func (e *exam) cert(what, path string) { e.certs(what, path, 1) }

func (e *exam) authorities(what, path string) { e.certs(what, path, maxAuthorities) }

func (e *exam) certs(what, path string, most int) {
	if path == "" {
		return
	}
	text, err := readSmall(path)
	if err != nil {
		e.unread(what, err)
		return
	}
	fact := doctor.Cert{What: what, Path: path}
	for block, rest := pem.Decode(text); block != nil && len(fact.Ends) < most; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			e.unread(what, fmt.Errorf("%s: %w", path, err))
			return
		}
		fact.Ends = append(fact.Ends, doctor.End{Name: c.Subject.String(), NotAfter: c.NotAfter})
	}
	e.facts.Certs = append(e.facts.Certs, fact)
}

func (e *exam) unread(what string, err error) {
	e.facts.Unread = append(e.facts.Unread, doctor.Unread{What: what, Error: err.Error()})
}

// clock asks the kernel whether something keeps its clock.
func (e *exam) clock() {
	const unsynchronized = 0x40 // STA_UNSYNC of adjtimex(2)
	var t syscall.Timex
	if _, err := syscall.Adjtimex(&t); err != nil {
		e.unread("clock", err)
		return
	}
	e.facts.Clock = &doctor.Clock{Synchronized: t.Status&unsynchronized == 0}
}

// maxAuthorities bounds the certificates of one file; a system has some 150.
const maxAuthorities = 1000

// capNetAdmin is its bit in the status of a process.
const capNetAdmin = 12

// processes are the folders in /proc of those that are called so.
func processes(name string) (dirs []string) {
	comms, _ := filepath.Glob("/proc/[0-9]*/comm") // the pattern is good
	for _, comm := range comms {
		if text, err := os.ReadFile(comm); err == nil && strings.TrimSpace(string(text)) == name {
			dirs = append(dirs, filepath.Dir(comm))
		}
	}
	return dirs
}

// mends looks whether the daemons that run here have the libraries loaded that mend them.
func (e *exam) mends() {
	for _, program := range []string{"kamailio", "rtpengine"} {
		library, looked, lacking := program+"-mend.so", false, false
		for _, dir := range processes(program) {
			maps, err := os.ReadFile(filepath.Join(dir, "maps"))
			if errors.Is(err, fs.ErrPermission) {
				e.unread("mend of "+program, err)
				break
			}
			if err != nil || len(maps) == 0 {
				continue // it has just ended
			}
			looked, lacking = true, lacking || !bytes.Contains(maps, []byte("/"+library+"\n"))
		}
		if looked {
			e.facts.Mends = append(e.facts.Mends, doctor.Mend{Program: program, Library: library, Loaded: !lacking})
		}
	}
}

// agentMayBan tells whether the one node agent of this machine runs, and holds CAP_NET_ADMIN.
func agentMayBan() (found, able bool) {
	count := 0
	for _, dir := range processes("sipio-node") {
		status, err := os.ReadFile(filepath.Join(dir, "status"))
		if err != nil {
			continue
		}
		count++
		for line := range strings.Lines(string(status)) {
			if text, is := strings.CutPrefix(line, "CapEff:"); is {
				bits, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
				able = err == nil && bits&(1<<capNetAdmin) != 0
			}
		}
	}
	return count == 1, count == 1 && able
}
