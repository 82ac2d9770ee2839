package scenario

import (
	"bufio"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
)

// postOffice takes what mailboxes tell the world: letters by SMTP (RFC 5321) and requests by HTTPS.
type postOffice struct {
	mail    net.Listener
	web     *httptest.Server
	caFile  string
	letters chan letter
	posts   chan string // bodies
}

// letter is one mail as it came.
type letter struct{ from, to, text string }

func openPostOffice() (*postOffice, error) {
	p := &postOffice{letters: make(chan letter, 64), posts: make(chan string, 64)}
	p.web = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if r.Method != http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		select {
		case p.posts <- string(body):
		default:
		}
	}))
	p.caFile = filepath.Join(os.TempDir(), fmt.Sprintf("sipio-post-%d.pem", os.Getpid()))
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.web.Certificate().Raw})
	err := os.WriteFile(p.caFile, cert, 0o600)
	if err == nil {
		p.mail, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		p.web.Close()
		return nil, err
	}
	go func() {
		for {
			conn, err := p.mail.Accept()
			if err != nil {
				return
			}
			go p.take(conn)
		}
	}()
	return p, nil
}

func (p *postOffice) close() {
	_ = p.mail.Close()
	p.web.Close()
	_ = os.Remove(p.caFile)
}

// take is one SMTP session.
func (p *postOffice) take(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	say := func(line string) { _, _ = io.WriteString(conn, line+"\r\n") }
	say("220 post.test")
	var l letter
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		switch verb, rest, _ := strings.Cut(line, ":"); {
		case strings.EqualFold(verb, "MAIL FROM"):
			l = letter{from: rest}
		case strings.EqualFold(verb, "RCPT TO"):
			l.to = rest
		case strings.EqualFold(line, "DATA"):
			say("354 go on")
			l.text = untilDot(in)
			select {
			case p.letters <- l:
			default:
			}
		case strings.EqualFold(line, "QUIT"):
			say("221 bye")
			return
		}
		say("250 ok")
	}
}

// untilDot reads a letter to the line of one dot.
func untilDot(in *bufio.Reader) string {
	var text strings.Builder
	for text.Len() < 16<<20 {
		line, err := in.ReadString('\n')
		if err != nil || line == ".\r\n" {
			break
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
	return text.String()
}
