package esl

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Limits of one frame. FreeSWITCH's connect reply is about 5 kB in 155 headers, an event 5 to 10 kB,
// `show channels as json` about 1 kB a channel. Beyond a limit the connection is closed.
const (
	// MaxHeadBytes bounds the header block of a frame.
	MaxHeadBytes = 256 << 10
	// MaxHeaders bounds the number of headers of a frame, and of an event.
	MaxHeaders = 4096
	// MaxBodyBytes bounds Content-Length.
	MaxBodyBytes = 16 << 20
)

const (
	readBufferBytes = 8 << 10
	bodyStepBytes   = 64 << 10  // a large Content-Length costs memory only as its bytes arrive
	keepBodyBytes   = 256 << 10 // a larger scratch buffer is given back
)

// ErrProtocol is bytes that are no event socket protocol, or are beyond its limits. The place of the
// next frame is unknown then, so the connection is closed.
var ErrProtocol = errors.New("event socket protocol broken")

// Header is one header of a frame, an event or a command.
type Header struct{ Name, Value string }

// frame is what the peer sends: headers, an empty line, then Content-Length bytes.
type frame struct {
	head        string   // the header block as it came
	headers     []Header // cut from head, not decoded; valid until the next frame
	contentType string
	body        []byte // valid until the next frame
}

func (f *frame) get(name string) string { return first(f.headers, name) }

func first(headers []Header, name string) string {
	for i := range headers {
		if headers[i].Name == name {
			return headers[i].Value
		}
	}
	return ""
}

// frames reads frames from a stream.
type frames struct {
	r       *bufio.Reader
	head    []byte
	headers []Header
	body    []byte
}

func newFrames(r io.Reader) *frames { return &frames{r: bufio.NewReaderSize(r, readBufferBytes)} }

// next returns the next frame. The error is io.EOF between two frames, io.ErrUnexpectedEOF inside one,
// ErrProtocol with what was wrong, or what the stream said.
func (f *frames) next() (frame, error) {
	head, err := f.readHead()
	if err != nil {
		return frame{}, err
	}
	f.headers, err = parseHeaders(f.headers[:0], head)
	if err != nil {
		return frame{}, fmt.Errorf("%w: frame: %w", ErrProtocol, err)
	}
	out := frame{head: head, headers: f.headers}
	n, err := contentLength(f.headers)
	if err != nil {
		return frame{}, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if out.contentType = out.get("Content-Type"); out.contentType == "" {
		return frame{}, fmt.Errorf("%w: frame without Content-Type", ErrProtocol)
	}
	out.body, err = f.readBody(n)
	return out, err
}

// readHead reads up to the empty line that ends a header block. Empty lines before a frame are skipped.
func (f *frames) readHead() (string, error) {
	f.head = f.head[:0]
	line := 0 // where the current line begins
	for {
		part, err := f.r.ReadSlice('\n')
		f.head = append(f.head, part...)
		switch {
		case len(f.head) > MaxHeadBytes:
			return "", fmt.Errorf("%w: header block over %d bytes", ErrProtocol, MaxHeadBytes)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(f.head) > 0:
			return "", io.ErrUnexpectedEOF
		case err != nil:
			return "", err
		}
		empty := len(trimEOL(f.head[line:])) == 0
		switch {
		case empty && line == 0:
			f.head = f.head[:0]
		case empty:
			return string(f.head[:line]), nil
		default:
			line = len(f.head)
		}
	}
}

func trimEOL(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

func (f *frames) readBody(n int) ([]byte, error) {
	b := f.body[:0]
	for len(b) < n {
		step := min(n-len(b), bodyStepBytes)
		b = slices.Grow(b, step)
		m, err := io.ReadFull(f.r, b[len(b):len(b)+step])
		b = b[:len(b)+m]
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
	if f.body = b; cap(b) > keepBodyBytes {
		f.body = nil
	}
	return b, nil
}

// parseHeaders appends the headers of a block of `Name: value` lines to out. Values are left as they are.
func parseHeaders(out []Header, block string) ([]Header, error) {
	for line := range strings.Lines(block) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			return out, fmt.Errorf("header without a name: %q", clip(line))
		}
		if len(out) == MaxHeaders {
			return out, fmt.Errorf("over %d headers", MaxHeaders)
		}
		out = append(out, Header{name, strings.TrimLeft(value, " ")})
	}
	return out, nil
}

// contentLength is the length of the body that follows a frame's headers, 0 when they name none.
func contentLength(headers []Header) (int, error) {
	length, seen := 0, false
	for _, h := range headers {
		if h.Name != "Content-Length" {
			continue
		}
		n, err := strconv.ParseUint(h.Value, 10, 31)
		switch {
		case err != nil:
			return 0, fmt.Errorf("Content-Length %q is no length", clip(h.Value))
		case n > MaxBodyBytes:
			return 0, fmt.Errorf("Content-Length %d is over %d", n, MaxBodyBytes)
		case seen && int(n) != length:
			return 0, fmt.Errorf("two Content-Lengths, %d and %d", length, n)
		}
		length, seen = int(n), true
	}
	return length, nil
}

// clip cuts foreign text to what belongs into an error.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
