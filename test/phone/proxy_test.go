package phone

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

const (
	testDomain   = "sipio.test"
	testPassword = `se"cret`
	testNonce    = "0123456789abcdef"
)

// testProxy is a registrar and record-routing proxy in the least code that makes phones show they follow routes,
// answer challenges and keep to their connections.
type testProxy struct {
	t         *testing.T
	client    *sipgo.Client
	algorithm string
	addr      string // host:port
	transport string

	mu       sync.Mutex
	location map[string]binding // by user
}

type binding struct{ source, contact string }

func newTestProxy(t *testing.T, transport, algorithm string) *testProxy {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	ua, err := sipgo.NewUA(sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(quiet)),
		sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(quiet)))
	if err != nil {
		t.Fatal(err)
	}
	p := &testProxy{t: t, algorithm: algorithm, transport: transport, location: map[string]binding{}}
	server, err := sipgo.NewServer(ua, sipgo.WithServerLogger(quiet))
	if err != nil {
		t.Fatal(err)
	}
	server.OnRegister(p.register)
	server.OnAck(func(req *sip.Request, _ sip.ServerTransaction) {
		if fwd := p.forwarded(req); fwd != nil {
			p.client.WriteRequest(fwd, asIs)
		}
	})
	for _, m := range []sip.RequestMethod{sip.INVITE, sip.BYE, sip.REFER, sip.OPTIONS} {
		server.OnRequest(m, p.relay)
	}
	closer := p.serve(server)
	host, _, _ := net.SplitHostPort(p.addr)
	if p.client, err = sipgo.NewClient(ua, sipgo.WithClientLogger(quiet), sipgo.WithClientHostname(host), sipgo.WithClientAddr(p.addr)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ua.Close(); closer.Close() })
	return p
}

func (p *testProxy) serve(server *sipgo.Server) io.Closer {
	if p.transport == "udp" {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			p.t.Fatal(err)
		}
		p.addr = conn.LocalAddr().String()
		go server.ServeUDP(conn)
		return conn
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	p.addr = l.Addr().String()
	switch p.transport {
	case "tcp":
		go server.ServeTCP(l)
	case "tls":
		go server.ServeTLS(tls.NewListener(l, selfSigned(p.t)))
	case "wss":
		go server.ServeWSS(tls.NewListener(l, selfSigned(p.t)))
	}
	return l
}

func selfSigned(t *testing.T) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{testDomain}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// authorized checks the digest independently of how the phone chose its cnonce; else it challenges.
func (p *testProxy) authorized(req *sip.Request, tx sip.ServerTransaction, code int, ask, answer string) bool {
	if h := req.GetHeader(answer); h != nil {
		v := authParams(strings.TrimPrefix(h.Value(), "Digest "))
		want := Credentials{User: req.From().Address.User, Password: testPassword, Realm: testDomain, Method: string(req.Method),
			URI: req.Recipient.String(), Nonce: testNonce, CNonce: v["cnonce"], Algorithm: p.algorithm, QOP: "auth", NC: 1}
		if v["response"] == want.Response() && v["nc"] == "00000001" && v["qop"] == "auth" {
			return true
		}
		tx.Respond(sip.NewResponseFromRequest(req, 403, "Forbidden", nil))
		return false
	}
	res := sip.NewResponseFromRequest(req, code, "Unauthorized", nil)
	res.AppendHeader(sip.NewHeader(ask, `Digest realm="`+testDomain+`", nonce="`+testNonce+`", qop="auth,auth-int", algorithm=`+p.algorithm))
	tx.Respond(res)
	return false
}

func (p *testProxy) register(req *sip.Request, tx sip.ServerTransaction) {
	if !p.authorized(req, tx, 401, "WWW-Authenticate", "Authorization") {
		return
	}
	res := sip.NewResponseFromRequest(req, 200, "OK", nil)
	user, contact := req.To().Address.User, req.Contact()
	p.mu.Lock()
	if req.GetHeader("Expires").Value() == "0" {
		delete(p.location, user)
	} else {
		p.location[user] = binding{req.Source(), contact.Address.String()}
		res.AppendHeader(sip.NewHeader("Contact", contact.Value()+";expires=60, <sip:other@192.0.2.1>;expires=30"))
	}
	p.mu.Unlock()
	tx.Respond(res)
}

func (p *testProxy) bindings() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.location)
}

// forwarded is the request for the next hop: to the connection of the user in the request URI. In a dialog only a
// request that brings our Route is let through.
func (p *testProxy) forwarded(req *sip.Request) *sip.Request {
	p.mu.Lock()
	b, ok := p.location[req.Recipient.User]
	p.mu.Unlock()
	inDialog := tagOf(req.To().Params) != ""
	if !ok || inDialog && (req.Route() == nil || !strings.Contains(req.Route().Value(), p.addr)) {
		return nil
	}
	fwd := req.Clone()
	fwd.RemoveHeader("Route")
	if !inDialog {
		sip.ParseUri(b.contact, &fwd.Recipient)
	}
	fwd.SetDestination(b.source)
	var rr sip.Uri
	transport := p.transport
	if transport == "wss" {
		transport = "ws"
	}
	sip.ParseUri("sip:"+p.addr+";transport="+transport+";lr;lz=abc", &rr)
	fwd.PrependHeader(&sip.RecordRouteHeader{Address: rr})
	sipgo.ClientRequestAddVia(p.client, fwd)
	return fwd
}

func (p *testProxy) relay(req *sip.Request, tx sip.ServerTransaction) {
	if tagOf(req.To().Params) == "" && !p.authorized(req, tx, 407, "Proxy-Authenticate", "Proxy-Authorization") {
		return
	}
	fwd := p.forwarded(req)
	if fwd == nil {
		tx.Respond(sip.NewResponseFromRequest(req, 404, "Not Found", nil))
		return
	}
	down, err := p.client.TransactionRequest(context.Background(), fwd, asIs)
	if err != nil {
		tx.Respond(sip.NewResponseFromRequest(req, 502, "Bad Gateway", nil))
		return
	}
	tx.OnCancel(func(*sip.Request) { go p.cancel(fwd) })
	for {
		select {
		case res := <-down.Responses():
			up := res.Clone()
			up.RemoveHeader("Via")
			up.SetDestination(req.Source())
			tx.Respond(up)
			if res.StatusCode >= 200 {
				return
			}
		case <-down.Done():
			return
		}
	}
}

func (p *testProxy) cancel(invite *sip.Request) {
	req := sip.NewRequest(sip.CANCEL, invite.Recipient)
	req.AppendHeader(invite.Via().Clone())
	addHeaders(req, invite.From(), invite.To(), invite.CallID(), &sip.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: sip.CANCEL})
	req.SetTransport(invite.Transport())
	req.SetDestination(invite.Destination())
	if tx, err := p.client.TransactionRequest(context.Background(), req, asIs); err == nil {
		<-tx.Responses()
		tx.Terminate()
	}
}
