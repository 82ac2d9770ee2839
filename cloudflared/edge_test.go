package cloudflared

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cloudflare/cloudflared/tunnelrpc"
	"github.com/cloudflare/cloudflared/tunnelrpc/pogs"
	"github.com/google/uuid"
	"golang.org/x/net/http2"
)

// edge stands for Cloudflare's: cloudflared connects to it and it asks through that connection, after Access has let the
// asker in. In production that check is Cloudflare's, before anything reaches the node.
type edge struct {
	tunnel     uuid.UUID
	secret     []byte // of the tunnel's credentials
	id, access string // the service token that Access knows
	handsOn    bool   // what lies behind sees the service token; Cloudflare promises neither

	ln        net.Listener
	connected chan *http2.ClientConn // each time a cloudflared has registered
	refused   chan error
}

// serverName is what cloudflared wants the edge's certificate to say.
const serverName = "h2.cftunnel.com"

// newEdge listens on loopback with a certificate of an authority that it writes into caFile.
func newEdge(t *testing.T, caFile string) *edge {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: serverName}, DNSNames: []string{serverName},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{
		tunnel: uuid.New(), secret: []byte(rand.Text()), id: rand.Text() + ".access", access: rand.Text(),
		ln: ln, connected: make(chan *http2.ClientConn, 4), refused: make(chan error, 4),
	}
	t.Cleanup(func() { _ = ln.Close() })
	go e.accept(t.Context())
	return e
}

// credentials writes the file that `cloudflared tunnel create` would have written.
func (e *edge) credentials(t *testing.T, dir string) string {
	file := filepath.Join(dir, "tunnel.json")
	text := fmt.Sprintf(`{"AccountTag":"account","TunnelSecret":%q,"TunnelID":%q}`, toBase64(e.secret), e.tunnel)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (e *edge) accept(ctx context.Context) {
	for {
		conn, err := e.ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if err := e.serve(ctx, conn); err != nil && ctx.Err() == nil {
				select {
				case e.refused <- err:
				default:
				}
			}
		}()
	}
}

// serve is one connection of a cloudflared: this side is the client of HTTP/2, and its first request is the stream on
// which cloudflared registers and later says goodbye.
func (e *edge) serve(ctx context.Context, conn net.Conn) error {
	client, err := (&http2.Transport{AllowHTTP: true}).NewClientConn(conn)
	if err != nil {
		return fmt.Errorf("speak HTTP/2: %w", err)
	}
	out, in := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+serverName+"/", out)
	if err != nil {
		return err
	}
	req.Header.Set("Cf-Cloudflared-Proxy-Connection-Upgrade", "control-stream")
	resp, err := client.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("open the control stream: %w", err)
	}
	defer resp.Body.Close()
	return tunnelrpc.NewRegistrationServer(&registrar{e, client}).Serve(ctx, &stream{resp.Body, in})
}

// stream is both halves of the control stream.
type stream struct {
	io.ReadCloser
	io.WriteCloser
}

func (s *stream) Close() error { return errors.Join(s.ReadCloser.Close(), s.WriteCloser.Close()) }

// registrar takes the registration of one connection.
type registrar struct {
	*edge
	client *http2.ClientConn
}

// RegisterConnection lets in who has the credentials of the tunnel.
func (r *registrar) RegisterConnection(_ context.Context, auth pogs.TunnelAuth, tunnel uuid.UUID, _ byte, _ *pogs.ConnectionOptions) (*pogs.ConnectionDetails, error) {
	if tunnel != r.tunnel || !bytes.Equal(auth.TunnelSecret, r.secret) {
		return nil, fmt.Errorf("tunnel %s with a secret of %d bytes: unauthorized", tunnel, len(auth.TunnelSecret))
	}
	r.connected <- r.client
	return &pogs.ConnectionDetails{UUID: uuid.New(), Location: "test"}, nil
}

// UnregisterConnection is cloudflared's goodbye.
func (r *registrar) UnregisterConnection(context.Context) {}

// UpdateLocalConfiguration tells the edge what the file says; nothing is made of it.
func (r *registrar) UpdateLocalConfiguration(context.Context, []byte) error { return nil }

// ask is a request from the Internet. Access looks at the service token first.
func (e *edge) ask(via *http2.ClientConn, req *http.Request) (*http.Response, error) {
	if req.Header.Get("CF-Access-Client-Id") != e.id || req.Header.Get("CF-Access-Client-Secret") != e.access {
		return &http.Response{StatusCode: http.StatusForbidden, Body: io.NopCloser(bytes.NewReader(nil)), Request: req}, nil
	}
	if !e.handsOn {
		req.Header.Del("CF-Access-Client-Id")
		req.Header.Del("CF-Access-Client-Secret")
	}
	return via.RoundTrip(req)
}
