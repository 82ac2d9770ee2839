package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/doctor"
	"github.com/sipio/sipio/controller/client"
	"github.com/sipio/sipio/internal/keyfile"
	"github.com/sipio/sipio/nodeagent"
	"github.com/sipio/sipio/nodeagent/ban"
)

// askTimeout bounds each question and each program that is asked for its version.
const askTimeout = 5 * time.Second

// gather looks at everything there is to look at.
func (e *exam) gather(ctx context.Context, s *server) {
	e.clock()
	if e.node != nil {
		e.gatherNode(ctx)
	}
	if e.brain != nil {
		e.gatherBrain(ctx)
	}
	if e.bus != nil {
		e.gatherBus()
	}
	e.sockets()
	e.gatherInstallation(ctx, s)
}

func (e *exam) gatherNode(ctx context.Context) {
	c, handed := e.node, of{e.nodeUser, brain.GroupReads}
	e.listener("door of the node agent", "SIPIO_NODE_DOOR_LISTEN", "tcp", c.DoorListen)
	e.listener("orders and health of the node agent", "SIPIO_NODE_OP_LISTEN", "tcp", c.OpListen)
	e.listener("rtpengine's control (ng)", "listen-ng of rtpengine.conf", "udp", c.RTPEngineNG)
	e.key(handed, "node key", cmp.Or(c.BrainKeyFile, e.nodeCreds[nodeagent.CredentialKey]), c.CertFile != "")
	e.key(handed, "key of orders", cmp.Or(c.OpKeyFile, e.nodeCreds[nodeagent.CredentialOp]), true)
	e.file(handed, "access token of orders", c.OpAccessFile, false)
	e.file(handed, "key of the node's certificate", c.CertKeyFile, false)
	e.file(of{0, brain.GroupReads}, "credentials of the tunnel", e.at.tunnelKey, true)
	e.cert("certificate of the node", c.CertFile)
	e.authorities("authority of brains", c.BrainCAFile)
	e.authorities("authority of who gives orders over TLS", c.OpCAFile)
	e.gatherKamailio()
	e.gatherRTPEngine()
	if c.MediaKeyFile != "" {
		e.listener("FreeSWITCH's event socket", "listen-ip of event_socket.conf.xml", "tcp", c.MediaESL)
		e.listener("calls of FreeSWITCH at the node agent", "SIPIO_NODE_MEDIA_LISTEN", "tcp", c.MediaListen)
		e.key(handed, "password of FreeSWITCH's event socket", c.MediaKeyFile, false)
		e.gatherMedia()
	}
	e.tunnel()
	e.gatherBans()
	e.mends()
	for _, of := range [][]string{{"kamailio", "-V"}, {"rtpengine", "-v"}, {"freeswitch", "-version"}} {
		e.version(ctx, of[0], of[1])
	}
	for _, url := range c.BrainURLs {
		e.askBrain(ctx, url)
	}
}

// substdef is a value of Kamailio's node.cfg; one in a comment is none.
var substdef = regexp.MustCompile(`(?m)^#!substdef "!([A-Z0-9_]+)!([^!"]*)!g"`)

// tlsTrunks is the switch without which Kamailio looks at no TLS_CA.
var tlsTrunks = regexp.MustCompile(`(?m)^#!define TLS_TRUNKS\b`)

func (e *exam) gatherKamailio() {
	text, err := readSmall(e.at.kamailio)
	if err != nil {
		e.unread("Kamailio's configuration", err)
		return
	}
	handed := of{e.nodeUser, brain.GroupReads} // Kamailio and the node agent have one user
	e.file(handed, "Kamailio's values of this node", e.at.kamailio, false)
	if e.sip = sipPorts(string(text)); e.node.BanTable != "" {
		e.facts.Ports = &doctor.Ports{SIP: e.sip, Guarded: e.node.BanPorts}
	}
	for _, found := range substdef.FindAllStringSubmatch(string(text), -1) {
		switch name, value := found[1], found[2]; name {
		case "EDGE_SECRET":
			e.secret("secret of the edge (EDGE_SECRET)", e.at.kamailio, value)
		case "RPC_SOCK", "CTL_SOCK":
			e.file(handed, "Kamailio's control socket", value, false)
		case "TLS_KEY":
			e.file(handed, "key of the node's TLS", value, false)
		case "MEDIA_PORT":
			if e.node.MediaKeyFile != "" {
				e.listener("FreeSWITCH's SIP", "sip_ip of vars.xml", "udp", "127.0.0.1:"+value)
			}
		case "TLS_CERT":
			e.cert("certificate of the node's TLS", value)
		case "TLS_CA":
			if tlsTrunks.Match(text) {
				e.authorities("authorities of trunks (TLS_CA)", value)
			}
		}
	}
}

// control is a port of control in rtpengine.conf; without an address it is open to all.
var control = regexp.MustCompile(`(?m)^\s*(listen-(?:ng|cli|tcp|udp|http|https|tcp-ng))\s*=\s*(\S+)`)

func (e *exam) gatherRTPEngine() {
	text, err := readSmall(e.at.rtpengine)
	if err != nil {
		e.unread("rtpengine's configuration", err)
		return
	}
	e.learning(string(text))
	for _, found := range control.FindAllStringSubmatch(string(text), -1) {
		network, address := "tcp", found[2]
		if found[1] == "listen-ng" {
			continue // as the node agent knows it
		}
		if found[1] == "listen-udp" {
			network = "udp"
		}
		if !strings.Contains(address, ":") {
			address = ":" + address
		}
		e.listener("rtpengine's control ("+strings.TrimPrefix(found[1], "listen-")+")", found[1]+" of rtpengine.conf", network, address)
	}
}

// password is that of the event socket in vars.xml.
var password = regexp.MustCompile(`data="esl_password=([^"]*)"`)

func (e *exam) gatherMedia() {
	text, err := readSmall(e.at.media)
	if errors.Is(err, fs.ErrNotExist) {
		return // of another machine, or another configuration
	}
	if err != nil {
		e.unread("FreeSWITCH's configuration", err)
		return
	}
	e.file(of{0, brain.GroupReads}, "FreeSWITCH's values of this node", e.at.media, false)
	if found := password.FindStringSubmatch(string(text)); found != nil {
		e.secret("password of FreeSWITCH's event socket", e.at.media, found[1])
	}
}

func (e *exam) gatherBans() {
	bans := &doctor.Bans{Table: e.node.BanTable}
	if bans.Table != "" {
		var err error
		if bans.Present, err = ban.Present(bans.Table); err != nil {
			e.unread("bans in the kernel", err)
			return
		}
		bans.Agent, bans.Able = agentMayBan()
		if err := ban.CountsConnections(); err != nil {
			bans.Uncounted = err.Error()
		}
	}
	e.facts.Bans = bans
}

// version asks a program for its version, if it is on this machine.
func (e *exam) version(ctx context.Context, program, flag string) {
	path, err := exec.LookPath(program)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, flag).CombinedOutput() // some exit with 1 or 255 although they have said it
	if len(out) == 0 && err != nil {
		e.unread("version of "+program, err)
		return
	}
	line, _, _ := strings.Cut(string(out), "\n")
	e.facts.Versions = append(e.facts.Versions, doctor.Version{Program: program, Where: "here", Text: line})
}

// askBrain asks a brain of the node as the node does. A heartbeat of nobody is refused once the key has been taken, and kept nowhere.
func (e *exam) askBrain(ctx context.Context, url string) {
	c, asked := e.node, doctor.Asked{What: "brain of the node", URL: url}
	defer func() { e.facts.Asked = append(e.facts.Asked, asked) }()
	asker, err := askerOf(c)
	if err != nil {
		asked.Error = err.Error()
		return
	}
	key := ""
	if path := cmp.Or(c.BrainKeyFile, e.nodeCreds[nodeagent.CredentialKey]); path != "" {
		if text, err := readSmall(path); err == nil {
			key, asked.KeyFile = strings.TrimSpace(string(text)), path
		}
	}
	status, err := e.ask(ctx, asker, http.MethodPost, url+api.PathHeartbeat, key)
	switch {
	case err != nil:
		asked.Error = err.Error()
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		asked.Error = fmt.Sprintf("it does not take the node's key or certificate, or this address: status %d", status)
	case status >= 500:
		asked.Error = fmt.Sprintf("status %d", status)
	}
}

// askerOf trusts and shows what the node agent does.
func askerOf(c *nodeagent.Config) (*http.Client, error) {
	conf := &tls.Config{}
	if c.BrainCAFile != "" {
		text, err := readSmall(c.BrainCAFile)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate", c.BrainCAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := keyfile.LoadPair(c.CertFile, c.CertKeyFile)
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Timeout: askTimeout, Transport: &http.Transport{TLSClientConfig: conf}}, nil
}

// ask returns the status of an answer, and holds the clock against its date.
func (e *exam) ask(ctx context.Context, asker *http.Client, method, url, key string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader([]byte("{}")))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	reply, err := asker.Do(r)
	if err != nil {
		return 0, err
	}
	defer reply.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(reply.Body, 64<<10))
	if at, err := http.ParseTime(reply.Header.Get("Date")); err == nil && e.facts.Clock != nil {
		e.facts.Clock.Brain, e.facts.Clock.Ahead = url, time.Since(at)
	}
	return reply.StatusCode, nil
}

func (e *exam) gatherBrain(ctx context.Context) {
	c, handed, held := e.brain, of{e.brainUser, brain.GroupReads}, of{e.brainUser, brain.OwnerReads}
	e.nets()
	if c.Listen != "" {
		e.listener("plain HTTP of the brain", "SIPIO_BRAIN_LISTEN", "tcp", c.Listen)
	}
	for _, f := range []struct{ what, path string }{
		{"key of the brain's TLS", c.TLSKeyFile}, {"key of the brain towards nodes", c.NodeCertKey}, {"keys of the secrets", c.SecretKeyFile},
		{"credentials of the bus", c.BusCredsFile}, {"key of the speech server", c.SpeechKeyFile}, {"key that signs calls", c.StirKeyFile},
	} {
		e.file(handed, f.what, f.path, false)
	}
	e.file(held, "first key of the platform", filepath.Join(c.DataDir, "admin.key"), true)
	e.file(handed, "keys of the secrets", filepath.Join(c.DataDir, "secret.key"), true)
	e.key(handed, "key of orders", cmp.Or(c.OpKeyFile, e.brainCreds["op-key"]), true)
	e.cert("certificate of the brain", c.TLSCertFile)
	e.cert("certificate of the brain towards nodes", c.NodeCertFile)
	e.authorities("authority of nodes", c.NodeCAFile)
	e.authorities("authority of the bus", c.BusCAFile)
	e.authorities("authorities of servers of flows", c.FlowCAFile)
	e.authorities("authorities of who signs calls", c.StirRootsFile)
	if c.Listen == "" {
		return
	}
	asked := doctor.Asked{What: "brain", URL: "http://" + c.Listen}
	if _, err := e.ask(ctx, &http.Client{Timeout: askTimeout}, http.MethodGet, asked.URL+api.PathHealth, ""); err != nil {
		asked.Error = err.Error()
	}
	e.facts.Asked = append(e.facts.Asked, asked)
}

func (e *exam) gatherBus() {
	c, handed := e.bus, of{e.busUser, brain.GroupReads}
	if e.file(handed, "password of the bus", c.UserFile, false) {
		text, err := readSmall(c.UserFile)
		if err != nil {
			e.unread("password of the bus", err)
		} else if _, password, found := strings.Cut(strings.TrimSpace(string(text)), " "); found {
			e.secret("password of the bus", c.UserFile, password)
		}
	}
	e.file(handed, "key of the bus's TLS", c.KeyFile, false)
	e.cert("certificate of the bus", c.CertFile)
	e.authorities("authority of the bus's members", c.CAFile)
}

// gatherInstallation asks the brain of --server what its nodes run, when there is a key to ask with.
func (e *exam) gatherInstallation(ctx context.Context, s *server) {
	asked := doctor.Asked{What: "nodes of the installation", KeyFile: cmp.Or(s.keyFile, os.Getenv("SIPIO_KEY_FILE"), "SIPIO_KEY")}
	c, err := s.client()
	var nodes []client.NodeSeen
	if err == nil {
		if c.Key == "" {
			return
		}
		asked.URL = c.Server
		nodes, err = c.Nodes(ctx)
	}
	if err != nil {
		asked.Error = err.Error()
	}
	e.facts.Asked = append(e.facts.Asked, asked)
	for _, n := range nodes {
		for _, program := range []string{"kamailio", "rtpengine", "freeswitch"} {
			if text := n.Versions[program]; text != "" {
				e.facts.Versions = append(e.facts.Versions, doctor.Version{Program: program, Where: "of " + n.Node, Text: text})
			}
		}
	}
}
