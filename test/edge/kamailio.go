package edge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// startKamailio copies kamailio-cfg, writes this node's node.cfg beside it as provisioning would, and
// starts the daemon on the allocator that production uses.
func (e *Edge) startKamailio(ctx context.Context, _ string) (err error) {
	if err := e.certificate(ctx); err != nil {
		return err
	}
	e.Kamailio, err = e.kamailio("kamailio", listeners{e.SIP, e.TLS, e.WSS, e.KamailioSocket, filepath.Join(e.Dir, "location.db")}, e.edit)
	if err != nil {
		return err
	}
	return e.StartKamailio(ctx)
}

// listeners are the addresses of one Kamailio and the file of its contacts.
type listeners struct{ sip, tls, wss, rpc, db string }

// kamailio prepares a Kamailio; edit, when set, may change each file of the configuration on its way.
func (e *Edge) kamailio(name string, at listeners, edit func(path, content string) string) (*Proc, error) {
	dir := filepath.Join(e.Dir, name+"-cfg")
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	src := filepath.Join(Root(), "kamailio-cfg")
	if err := os.CopyFS(dir, os.DirFS(src)); err != nil {
		return nil, fmt.Errorf("copy kamailio-cfg: %w", err)
	}
	values := filepath.Join(dir, "node.cfg") // holds the secret of the edge; the copy of the sample is everybody's
	if err := errors.Join(os.Remove(values), os.WriteFile(values, []byte(e.nodeCfg(at)), 0o600)); err != nil {
		return nil, err
	}
	if edit != nil {
		if err := rewrite(dir, edit); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(locationDB(at.db), touch(e.trunkFile())); err != nil {
		return nil, err
	}
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	args := []string{"kamailio", "-DD", "-E", "-x", "tlsf", "-X", "tlsf", "-m", "1024", "-M", "16", "-Y", dir, "-f", filepath.Join(dir, "kamailio.cfg")}
	return newProc(e.Dir, name, []string{"LD_PRELOAD=" + filepath.Join(bin, kamailioMend)}, append(args, e.verbose("-d", "-d", "-d")...)...), nil
}

// trunkFile is where Kamailio reads the addresses of trunks.
func (e *Edge) trunkFile() string { return filepath.Join(e.Dir, "trunks") }

// touch makes an empty file when there is none.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// port is the port of host:port.
func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

// locationDB makes the file that keeps contacts over a restart, when it is not there yet.
func locationDB(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	var schema []byte
	for _, part := range []string{"standard", "usrloc"} {
		b, err := os.ReadFile("/usr/share/kamailio/db_sqlite/" + part + "-create.sql")
		if err != nil {
			return fmt.Errorf("schema of the location store: %w", err)
		}
		schema = append(schema, b...)
	}
	cmd := exec.Command("sqlite3", path)
	cmd.Stdin = bytes.NewReader(schema)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make the location store: %w\n%s", err, out)
	}
	return nil
}

func rewrite(dir string, edit func(path, content string) string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(edit(rel, string(b))), 0o600)
	})
}

// Variant starts one more Kamailio on ports of its own with an edited configuration, for side-by-side
// measurements. The caller stops the process.
func (e *Edge) Variant(ctx context.Context, name string, edit func(path, content string) string) (*Proc, string, error) {
	ports, err := freePorts(e.IP, 3)
	if err != nil {
		return nil, "", err
	}
	at := func(i int) string { return fmt.Sprintf("%s:%d", e.IP, ports[i]) }
	p, err := e.kamailio(name, listeners{at(0), at(1), at(2), filepath.Join(e.Dir, name+".sock"), filepath.Join(e.Dir, name+"-location.db")}, edit)
	if err != nil {
		return nil, "", err
	}
	if err := p.Start(e.tee(name)); err != nil {
		return nil, "", err
	}
	return p, at(0), p.WaitFor(ctx, "an answer to OPTIONS", func() error {
		_, err := options(at(0), 200*time.Millisecond)
		return err
	})
}

// StartKamailio starts Kamailio (again) and waits until it answers an OPTIONS.
func (e *Edge) StartKamailio(ctx context.Context) error {
	if err := e.inside(func() error { return e.Kamailio.Start(e.tee("kamailio")) }); err != nil {
		return err
	}
	return e.Kamailio.WaitFor(ctx, "an answer to OPTIONS", func() error {
		_, err := e.Options(200 * time.Millisecond)
		return err
	})
}

// nodeCfg is kamailio-cfg/node.cfg with the values of this node.
func (e *Edge) nodeCfg(at listeners) string {
	children, nonce, timer := cmpOr(e.opt.Children, 16), cmpOr(e.opt.NonceExpire, 300), cmpOr(e.opt.ContactTimer, 1)
	var b strings.Builder
	for _, l := range []string{"udp:" + at.sip, "tcp:" + at.sip, "tls:" + at.tls, "tls:" + at.wss} {
		fmt.Fprintf(&b, "listen=%s\n", l)
	}
	fmt.Fprintf(&b, "children=%d\ntcp_children=%d\n", children, max(2, children/2))
	_, wss, _ := net.SplitHostPort(at.wss)
	for _, d := range [][2]string{
		{"NODE_NAME", e.name()}, {"DOOR_URL", "http://" + e.DoorAddr}, {"RTPENGINE_SOCK", "udp:" + e.NG},
		{"MEDIA_IP", "127.0.0.1"}, {"MEDIA_PORT", port(e.MediaSIP)}, {"TRUNK_FILE", e.trunkFile()},
		{"RPC_SOCK", at.rpc}, {"CTL_SOCK", at.rpc + ".ctl"}, {"LOCATION_DB", at.db},
		{"TLS_CERT", filepath.Join(e.Dir, "node.pem")}, {"TLS_KEY", filepath.Join(e.Dir, "node.pem.key")},
		{"EDGE_SECRET", randomHex(20)}, {"WSS_PORT", wss}, {"NONCE_EXPIRE", fmt.Sprint(nonce)},
		{"CONTACT_TIMER", fmt.Sprint(timer)}, {"SILENT_MS", "2000"},
	} {
		fmt.Fprintf(&b, "#!substdef \"!%s!%s!g\"\n", d[0], d[1])
	}
	if e.opt.SHA256 {
		b.WriteString("#!define DIGEST_SHA256\n")
	}
	if e.opt.TLSCA != "" {
		fmt.Fprintf(&b, "#!define TLS_TRUNKS\n#!substdef \"!TLS_CA!%s!g\"\n", e.opt.TLSCA)
	}
	return b.String()
}

// certificate makes the self-signed certificate of the TLS and WSS listeners.
func (e *Edge) certificate(ctx context.Context) error {
	pem := filepath.Join(e.Dir, "node.pem")
	if _, err := os.Stat(pem); err == nil {
		return nil
	}
	out, err := exec.CommandContext(ctx, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
		"-nodes", "-days", "90", "-keyout", pem+".key", "-out", pem, "-subj", "/CN=sipio-node",
		"-addext", "subjectAltName=IP:"+e.IP).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make a certificate: %w\n%s", err, out)
	}
	return nil
}

// Options sends an OPTIONS from outside, again after 0.5 s, 1 s, 2 s … (RFC 3261 section 17.1.2.1), and returns how long the answer took.
func (e *Edge) Options(timeout time.Duration) (took time.Duration, err error) {
	err = e.inside(func() error { took, err = options(e.SIP, timeout); return err })
	return took, err
}

func options(addr string, timeout time.Duration) (time.Duration, error) {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	began := time.Now()
	id := randomHex(6)
	question := fmt.Appendf(nil, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:probe@sipio.invalid>;tag=%s\r\nTo: <sip:%s>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
		addr, conn.LocalAddr(), id, id, addr, id)
	buf, n := make([]byte, 4096), 0
	for wait := 500 * time.Millisecond; n == 0; wait *= 2 {
		left := timeout - time.Since(began)
		if left <= 0 {
			return 0, fmt.Errorf("OPTIONS to %s: no answer within %v", addr, timeout)
		}
		if _, err = conn.Write(question); err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(min(wait, left)))
			n, err = conn.Read(buf)
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, fmt.Errorf("OPTIONS to %s: %w", addr, err)
		}
	}
	if !strings.HasPrefix(string(buf[:n]), "SIP/2.0 200") {
		return 0, fmt.Errorf("OPTIONS to %s: %.60s", addr, buf[:n])
	}
	return time.Since(began), nil
}
