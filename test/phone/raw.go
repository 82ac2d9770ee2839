package phone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Raw is a UDP socket that sends the exact bytes it is given: for torture messages, replays and forgeries that
// no well-behaved stack would send. One socket keeps one local port, as a phone does.
type Raw struct {
	conn *net.UDPConn
}

// DialRaw binds a port on localIP (empty: 127.0.0.1) for talking to server (host:port).
func DialRaw(localIP, server string) (*Raw, error) {
	if localIP == "" {
		localIP = "127.0.0.1"
	}
	remote, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", server, err)
	}
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(localIP)}, remote)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", server, err)
	}
	return &Raw{conn: conn}, nil
}

// Close gives the port back.
func (r *Raw) Close() error { return r.conn.Close() }

// LocalAddr is the host:port to put into Via and Contact.
func (r *Raw) LocalAddr() string { return r.conn.LocalAddr().String() }

// Send sends one datagram as it is.
func (r *Raw) Send(datagram []byte) error {
	if _, err := r.conn.Write(datagram); err != nil {
		return fmt.Errorf("send %d bytes: %w", len(datagram), err)
	}
	return nil
}

// Read returns the next message, request or response. When ctx ends first the error is
// os.ErrDeadlineExceeded or the cause of ctx.
func (r *Raw) Read(ctx context.Context) (*RawMessage, error) {
	r.conn.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { r.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 65536)
	n, err := r.conn.Read(buf)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(os.ErrDeadlineExceeded, context.Cause(ctx))
		}
		return nil, fmt.Errorf("read from %s: %w", r.conn.RemoteAddr(), err)
	}
	return ParseRaw(buf[:n])
}

// Exchange sends a request and returns the first final response; 1xx and foreign requests are passed over.
func (r *Raw) Exchange(ctx context.Context, datagram []byte) (*RawMessage, error) {
	if err := r.Send(datagram); err != nil {
		return nil, err
	}
	for {
		m, err := r.Read(ctx)
		if err != nil {
			return nil, err
		}
		if m.Code >= 200 {
			return m, nil
		}
	}
}

// RawHeader is one header line as received, folded lines joined.
type RawHeader struct{ Name, Value string }

// RawMessage is a received message, split and not interpreted.
type RawMessage struct {
	StartLine string
	Code      int    // 0 in a request
	Reason    string // of a response
	Method    string // of a request
	Headers   []RawHeader
	Body      []byte
}

// ParseRaw splits one message. It refuses what has no SIP start line.
func ParseRaw(datagram []byte) (*RawMessage, error) {
	head, body, _ := bytes.Cut(datagram, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	m := &RawMessage{StartLine: lines[0], Body: body}
	words := strings.SplitN(lines[0], " ", 3)
	switch {
	case len(words) >= 2 && words[0] == "SIP/2.0":
		code, err := strconv.Atoi(words[1])
		if err != nil {
			return nil, fmt.Errorf("status line %q: %w", lines[0], err)
		}
		m.Code = code
		if len(words) == 3 {
			m.Reason = words[2]
		}
	case len(words) == 3 && words[0] != "" && words[2] == "SIP/2.0":
		m.Method = words[0]
	default:
		return nil, fmt.Errorf("start line %q is not SIP", lines[0])
	}
	for _, line := range lines[1:] {
		if n := len(m.Headers); n > 0 && (strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")) {
			m.Headers[n-1].Value += " " + strings.TrimSpace(line)
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		m.Headers = append(m.Headers, RawHeader{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return m, nil
}

// Header is the value of the first header of that name, "" when there is none. Compact names are not unfolded.
func (m *RawMessage) Header(name string) string {
	if all := m.All(name); len(all) > 0 {
		return all[0]
	}
	return ""
}

// All are the values of every header of that name, in order.
func (m *RawMessage) All(name string) []string {
	var values []string
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, name) {
			values = append(values, h.Value)
		}
	}
	return values
}

// Challenge is the digest challenge of a 401 or 407.
func (m *RawMessage) Challenge() (Challenge, error) {
	name := "WWW-Authenticate"
	if m.Code == 407 {
		name = "Proxy-Authenticate"
	}
	return ParseChallenge(m.Header(name))
}
