package phone

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
	"github.com/gobwas/ws"
)

// connectTimeout bounds the making of a TCP, TLS or WebSocket connection to the proxy.
const connectTimeout = 5 * time.Second

func init() {
	// sipgo refuses datagrams above 1300 bytes. A phone behind two proxies sends longer ones, and rightly
	// relies on IP fragments as every deskphone does.
	sip.UDPMTUSize = 65535
	// Connections of sipgo log to its default logger alone, and warn at every regular close.
	sip.SetDefaultLogger(slog.New(slog.DiscardHandler))
}

// listen makes sipgo's user agent with the transport of the configuration, and the local address requests leave from.
func (p *Phone) listen() error {
	tlsConfig := &tls.Config{InsecureSkipVerify: p.cfg.InsecureTLS}
	if p.cfg.Certificate != nil {
		// Whatever authorities the other end names.
		tlsConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.cfg.Certificate, nil }
	}
	origin := "https://" + p.cfg.Domain
	url := "wss://" + p.cfg.Proxy + p.cfg.WSPath
	ua, err := sipgo.NewUA(
		sipgo.WithUserAgent(userAgent),
		sipgo.WithUserAgenTLSConfig(tlsConfig),
		sipgo.WithUserAgentTransactionLayerOptions(
			sip.WithTransactionLayerLogger(p.log), sip.WithTransactionLayerTerminateOnConnClose(),
			sip.WithTransactionLayerUnhandledResponseHandler(func(*sip.Response) {})),
		sipgo.WithUserAgentTransportLayerOptions(
			sip.WithTransportLayerLogger(p.log),
			sip.WithTransportLayerTransports(sip.TransportsConfig{TLS: &sip.TransportTLS{TransportTCP: &sip.TransportTCP{DialerCreate: p.dialer}}, WS: &sip.TransportWS{
				DialURI:      func(string) string { return url },
				DialerCreate: func(net.Addr) ws.Dialer { return wsDialer(p.dialer(nil), origin, tlsConfig) },
			}})),
	)
	if err != nil {
		return fmt.Errorf("user agent: %w", err)
	}
	p.ua = ua
	if p.client, err = sipgo.NewClient(ua, sipgo.WithClientLogger(p.log)); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if p.server, err = sipgo.NewServer(ua, sipgo.WithServerLogger(p.log)); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	p.routes()
	return p.bind()
}

// dialer makes the connections of TLS and WebSocket, from laddr or the phone's own address.
func (p *Phone) dialer(laddr net.Addr) net.Dialer {
	own := net.Dialer{LocalAddr: laddr, Timeout: connectTimeout, Control: p.cfg.Control}
	if at, ok := laddr.(*net.TCPAddr); !ok || at == nil {
		own.LocalAddr = &net.TCPAddr{IP: net.ParseIP(p.cfg.LocalIP)}
	}
	return own
}

// bind opens the listening socket of UDP and TCP. WebSocket phones listen on nothing, and TLS phones only when they are told to:
// requests reach them on the connection they opened.
func (p *Phone) bind() error {
	p.local = sip.Addr{IP: net.ParseIP(p.cfg.LocalIP)}
	at := net.JoinHostPort(p.cfg.LocalIP, "0")
	switch p.cfg.Transport {
	case "udp":
		conn, err := p.cfg.ListenUDP(&net.UDPAddr{IP: p.local.IP})
		if err != nil {
			return fmt.Errorf("listen for SIP: %w", err)
		}
		p.listener, p.local.Port = conn, conn.LocalAddr().(*net.UDPAddr).Port
		reading := &readyConn{PacketConn: conn, ready: make(chan struct{})}
		go p.server.ServeUDP(reading)
		<-reading.ready
	case "tcp":
		l, err := net.Listen("tcp", at)
		if err != nil {
			return fmt.Errorf("listen for SIP: %w", err)
		}
		p.listener, p.listenPort = l, l.Addr().(*net.TCPAddr).Port
		go p.server.ServeTCP(l)
	case "tls":
		if !p.cfg.Listens {
			break
		}
		l, err := tls.Listen("tcp", at, &tls.Config{Certificates: []tls.Certificate{*p.cfg.Certificate}})
		if err != nil {
			return fmt.Errorf("listen for SIP: %w", err)
		}
		p.listener, p.listenPort = l, l.Addr().(*net.TCPAddr).Port
		go p.server.ServeTLS(l)
	}
	return nil
}

// readyConn tells when sipgo begins to read, which is after it made the socket known as one to send from.
type readyConn struct {
	net.PacketConn
	once  sync.Once
	ready chan struct{}
}

func (c *readyConn) ReadFrom(b []byte) (int, net.Addr, error) {
	c.once.Do(func() { close(c.ready) })
	return c.PacketConn.ReadFrom(b)
}

// network is the transport's name inside sipgo. Its WebSocket transport dials wss:// through wsDialer.
func (p *Phone) network() string {
	if p.cfg.Transport == "wss" {
		return "WS"
	}
	return strings.ToUpper(p.cfg.Transport)
}

func (p *Phone) stream() bool { return p.cfg.Transport != "udp" }

// contactURI is where this phone can be reached: its socket, for TLS the local end of the connection to the
// proxy (opened if need be), for WebSocket a name that says nothing (RFC 7118 section 5).
func (p *Phone) contactURI(ctx context.Context) (sip.Uri, error) {
	uri := sip.Uri{Scheme: "sip", User: p.user(), Host: p.cfg.LocalIP}
	switch p.cfg.Transport {
	case "udp":
		uri.Port = p.local.Port
	case "tcp":
		uri.Port = p.listenPort
		uri.UriParams.Add("transport", "tcp")
	case "tls":
		uri.Port = p.listenPort
		if uri.Port == 0 {
			port, err := p.connectedPort(ctx)
			if err != nil {
				return uri, err
			}
			uri.Port = port
		}
		uri.UriParams.Add("transport", "tls")
	case "wss":
		uri.Host = p.invalid
		uri.UriParams.Add("transport", "ws")
	}
	p.mu.Lock()
	p.contact = uri.String()
	p.mu.Unlock()
	return uri, nil
}

// connectedPort is the local port of the connection to the proxy.
func (p *Phone) connectedPort(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	probe := p.newRequest(sip.OPTIONS, sip.Uri{Scheme: "sip", Host: p.cfg.Domain}, p.cfg.Proxy)
	probe.PrependHeader(p.via())
	conn, err := p.ua.TransportLayer().ClientRequestConnection(ctx, probe)
	if err != nil {
		return 0, fmt.Errorf("connect to %s: %w", p.cfg.Proxy, err)
	}
	defer conn.TryClose()
	return conn.LocalAddr().(*net.TCPAddr).Port, nil
}

// via is a fresh top Via. sipgo fills in the port of the connection where it is 0.
func (p *Phone) via() *sip.ViaHeader {
	via := &sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: strings.ToUpper(p.cfg.Transport), Host: p.cfg.LocalIP}
	switch p.cfg.Transport {
	case "udp":
		via.Port = p.local.Port
	case "tcp", "tls":
		via.Port = p.listenPort
	case "wss":
		via.Host = p.invalid
	}
	via.Params.Add("branch", sip.GenerateBranch())
	via.Params.Add("rport", "")
	return via
}

// newRequest is a request without headers, to be sent to dest from this phone's address.
func (p *Phone) newRequest(method sip.RequestMethod, target sip.Uri, dest string) *sip.Request {
	req := sip.NewRequest(method, target)
	req.SetTransport(p.network())
	req.SetDestination(dest)
	p.local.Copy(&req.Laddr)
	return req
}
