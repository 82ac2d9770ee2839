package door

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
)

// Limits of one HTTP head. Kamailio and the brain stay far below both.
const (
	maxHeadBytes = 8 << 10 // also the size of the read buffers, so one line can never be longer
	maxHeaders   = 64
)

// errHead is what every malformed head is: the connection cannot be trusted after it.
var errHead = errors.New("malformed HTTP head")

// readLine reads one line that must end in CRLF and returns it without that. The bytes are valid
// until the next read. budget is what is left of the head's size limit.
func readLine(br *bufio.Reader, budget *int) ([]byte, error) {
	line, err := br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: line too long", errHead)
	}
	if err != nil {
		return nil, err
	}
	if *budget -= len(line); *budget < 0 {
		return nil, fmt.Errorf("%w: longer than %d bytes", errHead, maxHeadBytes)
	}
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return nil, fmt.Errorf("%w: line without CRLF", errHead)
	}
	return line[:len(line)-2], nil
}

// readHeaders calls each for every header line until the empty line. Names come as sent (compare
// with bytes.EqualFold), values trimmed; folded lines and control characters are refused (RFC 9112
// section 5.2).
func readHeaders(br *bufio.Reader, budget *int, each func(name, value []byte) error) error {
	for range maxHeaders {
		line, err := readLine(br, budget)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return nil
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !isToken(line[:colon]) {
			return fmt.Errorf("%w: bad header line", errHead)
		}
		value := bytes.Trim(line[colon+1:], " \t")
		if !isText(value) {
			return fmt.Errorf("%w: control character in a header", errHead)
		}
		if err := each(line[:colon], value); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: more than %d headers", errHead, maxHeaders)
}

// isToken reports whether b is a token of RFC 9110 section 5.6.2, as far as names need it: visible
// characters without the delimiters that could hide a second header.
func isToken(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || c == ':' || c == '(' || c == ')' || c == '"' || c == ',' || c == ';' {
			return false
		}
	}
	return len(b) > 0
}

func isText(b []byte) bool {
	for _, c := range b {
		if (c < ' ' && c != '\t') || c == 0x7f {
			return false
		}
	}
	return true
}

// parseLength reads a Content-Length strictly: digits only, at most nine of them.
func parseLength(b []byte) (int, error) {
	if len(b) == 0 || len(b) > 9 {
		return 0, fmt.Errorf("%w: bad Content-Length", errHead)
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%w: bad Content-Length", errHead)
		}
		n = n*10 + int(c-'0')
	}
	return n, nil
}

// framing collects the headers that say how long a body is and whether the connection stays.
type framing struct {
	length  int // -1 when not given
	chunked bool
	close   bool
}

// take reads one header into the framing and reports whether it was one of its own.
func (f *framing) take(name, value []byte) (bool, error) {
	switch {
	case bytes.EqualFold(name, hdrContentLength):
		if f.length >= 0 {
			return true, fmt.Errorf("%w: two Content-Length headers", errHead)
		}
		n, err := parseLength(value)
		f.length = n
		return true, err
	case bytes.EqualFold(name, hdrTransferEncoding):
		if f.chunked || !bytes.EqualFold(value, []byte("chunked")) {
			return true, fmt.Errorf("%w: Transfer-Encoding %.20q", errHead, value)
		}
		f.chunked = true
		return true, nil
	case bytes.EqualFold(name, hdrConnection):
		f.close = f.close || bytes.EqualFold(value, []byte("close"))
		return true, nil
	}
	return false, nil
}

var (
	hdrContentLength    = []byte("Content-Length")
	hdrContentType      = []byte("Content-Type")
	hdrTransferEncoding = []byte("Transfer-Encoding")
	hdrConnection       = []byte("Connection")
	hdrExpect           = []byte("Expect")
)
