package edge

import (
	"context"
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
func (e *Edge) startKamailio(ctx context.Context, _ string) error {
	cfg := filepath.Join(e.Dir, "kamailio-cfg")
	if err := os.RemoveAll(cfg); err != nil {
		return err
	}
	if err := os.CopyFS(cfg, os.DirFS(filepath.Join(Root(), "kamailio-cfg"))); err != nil {
		return fmt.Errorf("copy kamailio-cfg: %w", err)
	}
	if err := os.WriteFile(filepath.Join(cfg, "node.cfg"), []byte(e.nodeCfg()), 0o600); err != nil {
		return err
	}
	if err := e.certificate(ctx); err != nil {
		return err
	}
	e.Kamailio = newProc(e.Dir, "kamailio", nil, "kamailio", "-DD", "-E", "-x", "tlsf", "-X", "tlsf",
		"-m", "256", "-M", "16", "-Y", e.Dir, "-f", filepath.Join(cfg, "kamailio.cfg"))
	return e.StartKamailio(ctx)
}

// StartKamailio starts Kamailio (again) and waits until it answers an OPTIONS.
func (e *Edge) StartKamailio(ctx context.Context) error {
	if err := e.Kamailio.Start(e.tee("kamailio")); err != nil {
		return err
	}
	return e.Kamailio.waitFor(ctx, "an answer to OPTIONS", func() error {
		_, err := e.Options(200 * time.Millisecond)
		return err
	})
}

// nodeCfg is kamailio-cfg/node.cfg with the values of this node.
func (e *Edge) nodeCfg() string {
	children, nonce, timer := cmpOr(e.opt.Children, 16), cmpOr(e.opt.NonceExpire, 300), cmpOr(e.opt.ContactTimer, 1)
	var b strings.Builder
	for _, l := range []string{"udp:" + e.SIP, "tcp:" + e.SIP, "tls:" + e.TLS, "tls:" + e.WSS} {
		fmt.Fprintf(&b, "listen=%s\n", l)
	}
	fmt.Fprintf(&b, "children=%d\ntcp_children=%d\n", children, max(2, children/2))
	_, wss, _ := net.SplitHostPort(e.WSS)
	for _, d := range [][2]string{
		{"NODE_NAME", "node-1"}, {"DOOR_URL", "http://" + e.DoorAddr}, {"RTPENGINE_SOCK", "udp:" + e.NG},
		{"RPC_SOCK", e.KamailioSocket}, {"CTL_SOCK", filepath.Join(e.Dir, "kamailio_ctl")},
		{"TLS_CERT", filepath.Join(e.Dir, "node.pem")}, {"TLS_KEY", filepath.Join(e.Dir, "node.pem.key")},
		{"EDGE_SECRET", randomHex(20)}, {"WSS_PORT", wss}, {"NONCE_EXPIRE", fmt.Sprint(nonce)},
		{"CONTACT_TIMER", fmt.Sprint(timer)}, {"SILENT_MS", "2000"},
	} {
		fmt.Fprintf(&b, "#!substdef \"!%s!%s!g\"\n", d[0], d[1])
	}
	if e.opt.SHA256 {
		b.WriteString("#!define DIGEST_SHA256\n")
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
		"-nodes", "-days", "30", "-keyout", pem+".key", "-out", pem, "-subj", "/CN=sipio-node",
		"-addext", "subjectAltName=IP:"+e.IP).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make a certificate: %w\n%s", err, out)
	}
	return nil
}

// Options sends an OPTIONS from outside and returns how long the answer took.
func (e *Edge) Options(timeout time.Duration) (time.Duration, error) {
	conn, err := net.Dial("udp", e.SIP)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	began := time.Now()
	id := randomHex(6)
	fmt.Fprintf(conn, "OPTIONS sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:probe@sipio.invalid>;tag=%s\r\nTo: <sip:%s>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
		e.SIP, conn.LocalAddr(), id, id, e.SIP, id)
	_ = conn.SetReadDeadline(began.Add(timeout))
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if err != nil {
		return 0, fmt.Errorf("OPTIONS to %s: %w", e.SIP, err)
	}
	if !strings.HasPrefix(string(buf[:n]), "SIP/2.0 200") {
		return 0, fmt.Errorf("OPTIONS to %s: %.60s", e.SIP, buf[:n])
	}
	return time.Since(began), nil
}
