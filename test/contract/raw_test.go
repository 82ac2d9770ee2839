package contract

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// rawRequest is a request as no HTTP library would send it.
type rawRequest struct {
	method, path, key, contentType string
	head, body                     string // head replaces all before the empty line
	length                         int    // said in Content-Length; 0 = the truth, -1 = nothing is said
	chunked                        bool   // the body goes out as one chunk
	half                           bool   // our side of the connection is closed after it
}

func (r rawRequest) text(host string) string {
	if r.head != "" {
		return r.head + "\r\n\r\n" + r.body
	}
	method, length, body := r.method, r.length, r.body
	if method == "" {
		method = "POST"
	}
	if length == 0 {
		length = len(body)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, r.path, host)
	if r.key != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", r.key)
	}
	if r.contentType != "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\n", r.contentType)
	}
	switch {
	case r.chunked:
		b.WriteString("Transfer-Encoding: chunked\r\n")
		body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	case length > 0 || body == "" && length == 0:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", length)
	}
	return b.String() + "\r\n" + body
}

// rawTimeout is longer than any server here waits for a slow request.
const rawTimeout = 40 * time.Second

// sendRaw sends a request over a connection of its own and returns the reply: status 0 when the
// connection is ended without one.
func sendRaw(url string, r rawRequest) (answer, error) {
	host := strings.TrimPrefix(url, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(rawTimeout))
	// The server may refuse and close before it has read everything: what counts is what it says.
	_, _ = io.WriteString(conn, r.text(host))
	if r.half {
		_ = conn.(*net.TCPConn).CloseWrite()
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			return answer{}, fmt.Errorf("neither reply nor end of the connection after %v", rawTimeout)
		}
		return answer{}, nil // the connection was ended
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, fmt.Errorf("read the reply: %w", err)
	}
	return answer{resp.StatusCode, resp.Header, body}, nil
}

// expectRaw sends a request and tells when the status is another than wanted.
func expectRaw(url string, r rawRequest, want int) error {
	got, err := sendRaw(url, r)
	if err != nil {
		return err
	}
	if got.status != want {
		return fmt.Errorf("%d, want %d: %.300s", got.status, want, got.body)
	}
	return nil
}
