// Package phone is a SIP phone for tests and the demo: it registers, calls, answers, and hears whether there is
// audio. Media is plain RTP or, as a browser does it, WebRTC. raw.go has a socket for messages no phone would send.
package phone

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"

	"github.com/sipio/sipio/test/phone/tone"
)

const userAgent = "sipio-testphone"

// Config says who a phone is and where it sends its requests. AuthUser, Domain and Proxy are required.
type Config struct {
	AuthUser    string // digest user; the AOR is sip:AuthUser@Domain unless User says otherwise
	Password    string
	Domain      string
	User        string // user part of From and To, where it differs from AuthUser
	DisplayName string
	Proxy       string   // host:port every request outside a dialog goes to
	Transport   string   // udp (default), tcp, tls or wss
	WSPath      string   // path of the WebSocket URL, default "/"
	LocalIP     string   // default 127.0.0.1
	InsecureTLS bool     // accept any certificate
	WebRTC      bool     // media by ICE and DTLS-SRTP, PCMU only; goes with any transport, usually wss
	Codecs      []string // what to offer and accept, in order of preference; default PCMU, PCMA
	NoEvents    bool     // plain RTP only: neither offers nor takes telephone-event (RFC 4733)
	SDES        bool     // RTP is encrypted with keys in the SDP (RFC 4568), and nothing else is taken
	Log         *slog.Logger

	Certificate *tls.Certificate // shown over TLS, nil for none
	Listens     bool             // tls only: takes connections too, as a carrier does, and shows Certificate there

	// WriteSDP changes each SDP that the phone sends, nil for as it is.
	WriteSDP func(sdp []byte) []byte
	// ListenUDP opens the sockets of UDP and plain RTP, nil for net.ListenUDP: a phone in another network namespace.
	ListenUDP func(*net.UDPAddr) (*net.UDPConn, error)
	// Control is that of the net.Dialer of TLS and WebSocket, nil for none: the same for such a phone.
	Control func(network, address string, c syscall.RawConn) error
}

// Phone is one registered (or not) user agent with one transport. All methods may be called at the same time.
type Phone struct {
	cfg      Config
	laws     []tone.Law
	log      *slog.Logger
	ua       *sipgo.UserAgent
	client   *sipgo.Client
	server   *sipgo.Server
	listener interface{ Close() error } // SIP socket of udp and tcp, else nil
	invalid  string                     // host name for Contact and Via over WebSocket
	incoming chan *Incoming
	waiting  chan string     // message-summary bodies
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc

	deaf atomic.Bool

	local      sip.Addr // address requests leave from; the port is 0 for streams
	listenPort int      // tcp, and tls that listens

	mu        sync.Mutex
	contact   string
	calls     map[string]*Call         // by dialogKey
	acks      map[string]chan<- []byte // by ackKey: the body of the ACK a 2xx waits for
	regCallID string
	regCSeq   uint32
}

// events is the payload type of telephone-event that the phone offers, 0 when it has none.
func (p *Phone) events() uint8 {
	if p.cfg.NoEvents {
		return 0
	}
	return eventPayload
}

// MessageWaiting delivers the body of each message-summary (RFC 3842) as it comes; when 16 wait, further ones are
// lost.
func (p *Phone) MessageWaiting() <-chan string { return p.waiting }

// New makes a phone and opens its socket. Nothing is sent yet. The phone ends with ctx or Close.
func New(ctx context.Context, cfg Config) (*Phone, error) {
	if cfg.Transport == "" {
		cfg.Transport = "udp"
	}
	if cfg.LocalIP == "" {
		cfg.LocalIP = "127.0.0.1"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.ListenUDP == nil {
		cfg.ListenUDP = func(at *net.UDPAddr) (*net.UDPConn, error) { return net.ListenUDP("udp", at) }
	}
	if cfg.WSPath == "" {
		cfg.WSPath = "/"
	}
	laws, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("phone: %w", err)
	}
	p := &Phone{
		cfg: cfg, laws: laws, log: cfg.Log.With("phone", cfg.AuthUser), incoming: make(chan *Incoming, 16), waiting: make(chan string, 16),
		invalid: randomHex(6) + ".invalid", regCallID: randomHex(12), calls: map[string]*Call{}, acks: map[string]chan<- []byte{},
	}
	p.ctx, p.cancel = context.WithCancel(ctx)
	if err := p.listen(); err != nil {
		p.Close()
		return nil, fmt.Errorf("phone %s: %w", cfg.AuthUser, err)
	}
	context.AfterFunc(ctx, p.Close)
	return p, nil
}

func (c Config) check() ([]tone.Law, error) {
	if c.AuthUser == "" || c.Domain == "" {
		return nil, errors.New("AuthUser and Domain are required")
	}
	if !slices.Contains([]string{"udp", "tcp", "tls", "wss"}, c.Transport) {
		return nil, fmt.Errorf("transport %q is not udp, tcp, tls or wss", c.Transport)
	}
	if _, _, err := net.SplitHostPort(c.Proxy); err != nil {
		return nil, fmt.Errorf("proxy %q: %w", c.Proxy, err)
	}
	if c.Listens && (c.Transport != "tls" || c.Certificate == nil) {
		return nil, errors.New("Listens is for TLS, with a Certificate")
	}
	if net.ParseIP(c.LocalIP) == nil {
		return nil, fmt.Errorf("local address %q is not an IP", c.LocalIP)
	}
	if len(c.Codecs) == 0 {
		return []tone.Law{tone.PCMU, tone.PCMA}, nil
	}
	var laws []tone.Law
	for _, name := range c.Codecs {
		switch strings.ToUpper(name) {
		case "PCMU":
			laws = append(laws, tone.PCMU)
		case "PCMA":
			laws = append(laws, tone.PCMA)
		default:
			return nil, fmt.Errorf("codec %q is not PCMU or PCMA", name)
		}
	}
	return laws, nil
}

// Close ends the phone at once, as pulling its plug would: no BYE, no unregistration. Calls are Done.
func (p *Phone) Close() {
	p.cancel()
	p.mu.Lock()
	calls := make([]*Call, 0, len(p.calls))
	for _, c := range p.calls {
		calls = append(calls, c)
	}
	p.mu.Unlock()
	for _, c := range calls {
		c.end()
	}
	if p.ua != nil {
		p.ua.Close()
	}
	if p.listener != nil {
		p.listener.Close()
	}
}

// user is the user part of this phone's AOR.
func (p *Phone) user() string {
	if p.cfg.User != "" {
		return p.cfg.User
	}
	return p.cfg.AuthUser
}

// AOR is the phone's address of record, sip:user@domain.
func (p *Phone) AOR() string { return "sip:" + p.user() + "@" + p.cfg.Domain }

// Contact is the URI last given as Contact. Before the first request of a TLS phone it is empty, because its
// port is that of the connection.
func (p *Phone) Contact() string {
	if p.cfg.Transport != "tls" || p.cfg.Listens {
		p.contactURI(p.ctx) // cannot fail without a connection
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.contact
}

// Response is a final response as received.
type Response struct {
	Code     int
	Reason   string
	Contacts []string            // of a 2xx to REGISTER, each `<uri>;expires=N`
	Headers  map[string][]string // by name as received, values in order
	Raw      string
}

func newResponse(res *sip.Response) *Response {
	r := &Response{Code: res.StatusCode, Reason: res.Reason, Headers: headers(res.Headers()), Raw: res.String()}
	for _, h := range res.GetHeaders("Contact") {
		r.Contacts = append(r.Contacts, h.Value())
	}
	return r
}

func headers(list []sip.Header) map[string][]string {
	all := map[string][]string{}
	for _, h := range list {
		all[h.Name()] = append(all[h.Name()], h.Value())
	}
	return all
}

// Register binds the AOR to this phone for expires, answering a challenge. A refusal is a Response with its code,
// not an error; an error means no final response came.
func (p *Phone) Register(ctx context.Context, expires time.Duration) (*Response, error) {
	contact, err := p.contactURI(ctx)
	if err != nil {
		return nil, fmt.Errorf("register %s: %w", p.AOR(), err)
	}
	tag := sip.GenerateTagN(10)
	_, res, err := p.request(ctx, exchange{build: func() *sip.Request {
		req := p.newRequest(sip.REGISTER, sip.Uri{Scheme: "sip", Host: p.cfg.Domain}, p.cfg.Proxy)
		aor := sip.Uri{Scheme: "sip", User: p.user(), Host: p.cfg.Domain}
		from := &sip.FromHeader{DisplayName: p.cfg.DisplayName, Address: aor}
		from.Params.Add("tag", tag)
		callID := sip.CallIDHeader(p.regCallID)
		p.mu.Lock()
		p.regCSeq++
		cseq := &sip.CSeqHeader{SeqNo: p.regCSeq, MethodName: sip.REGISTER}
		p.mu.Unlock()
		addHeaders(req, from, &sip.ToHeader{Address: aor}, &callID, cseq, &sip.ContactHeader{Address: contact},
			sip.NewHeader("Expires", strconv.Itoa(int(expires.Seconds()))), sip.NewHeader("Supported", "path"))
		return req
	}})
	if err != nil {
		return nil, fmt.Errorf("register %s: %w", p.AOR(), err)
	}
	return newResponse(res), nil
}

// Unregister removes this phone's binding.
func (p *Phone) Unregister(ctx context.Context) (*Response, error) { return p.Register(ctx, 0) }

// Incoming delivers calls as they come. When 16 wait unread, further ones are answered 486.
func (p *Phone) Incoming() <-chan *Incoming { return p.incoming }

// addHeaders completes a request: what every request has, then the given headers, then Content-Length.
func addHeaders(req *sip.Request, list ...sip.Header) {
	maxForwards := sip.MaxForwardsHeader(70)
	req.AppendHeader(&maxForwards)
	for _, h := range list {
		req.AppendHeader(h)
	}
	req.AppendHeader(sip.NewHeader("User-Agent", userAgent))
	if req.Body() == nil {
		req.SetBody(nil)
	}
}
