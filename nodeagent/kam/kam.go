// Package kam asks Kamailio over JSON-RPC on a unix datagram socket (module jsonrpcs, transport 4).
package kam

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kamailio 5.6.3 answers in one datagram or not at all: an answer larger than its socket's send
// buffer (128 KiB less the kernel's overhead) is dropped with an ERROR "failed to send the response"
// in its log, and the asker sees a timeout; later requests are served as before. A full dlg.list
// reaches that with about 200 dialogs. So this package asks for the little it needs, numbers or one
// dialog by its Call-ID, and has Kamailio write the list of all dialogs into a file (dialogs.go).
const (
	maxReply   = 256 << 10 // more than Kamailio can send, so that nothing is ever cut
	maxRequest = 60 << 10  // below Kamailio's read buffer of 65,456 bytes
)

// Error is a refusal by Kamailio.
type Error struct {
	Code    int
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("kamailio: %d %s", e.Code, e.Message) }

// Client asks one Kamailio. One request is under way at a time.
type Client struct {
	server  *net.UnixAddr
	path    string
	timeout time.Duration

	mu   sync.Mutex
	conn *net.UnixConn
	next int64
	buf  []byte
}

// Open binds path as the client's own socket, to which Kamailio sends its answers, and aims at
// Kamailio's socket. Kamailio need not run yet and may be restarted at any time. Anyone may write to
// path (Kamailio runs as another user), but only datagrams from Kamailio's socket are read.
func Open(server, path string, timeout time.Duration) (*Client, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old client socket: %w", err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("bind client socket: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, errors.Join(fmt.Errorf("open client socket to Kamailio: %w", err), conn.Close())
	}
	return &Client{
		server: &net.UnixAddr{Name: server, Net: "unixgram"}, path: path, timeout: timeout,
		conn: conn, buf: make([]byte, maxReply),
		next: time.Now().UnixNano() & (1<<31 - 1), // Kamailio keeps ids in 32 bits
	}, nil
}

// Close removes the client's socket.
func (c *Client) Close() error {
	err := c.conn.Close()
	if gone := os.Remove(c.path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}

type rpcRequest struct {
	JSONRPC string `json:"jsonrpc"`
	Method  string `json:"method"`
	Params  []any  `json:"params,omitempty"`
	ID      int64  `json:"id"`
}

type rpcReply struct {
	Result json.RawMessage `json:"result"`
	Error  *Error          `json:"error"`
	ID     int64           `json:"id"`
}

// Call runs one RPC and decodes its result into out (nil drops it). A refusal by Kamailio is an
// *Error. No answer within the timeout may also mean one too large for a datagram.
func (c *Client) Call(ctx context.Context, method string, params []any, out any) error {
	result, err := c.exchange(ctx, method, params)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(result, out); err != nil {
		return fmt.Errorf("%s: read result: %w", method, err)
	}
	return nil
}

func (c *Client) exchange(ctx context.Context, method string, params []any) (json.RawMessage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = (c.next + 1) & (1<<31 - 1)
	req, err := json.Marshal(rpcRequest{"2.0", method, params, c.next})
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if len(req) > maxRequest {
		return nil, fmt.Errorf("request of %d bytes, limit %d", len(req), maxRequest)
	}
	end := time.Now().Add(c.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		end = d
	}
	if err := c.conn.SetDeadline(end); err != nil {
		return nil, fmt.Errorf("set deadline: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.conn.WriteToUnix(req, c.server); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	return c.read(c.next)
}

// read takes datagrams until the answer with the id comes; late answers to earlier requests and
// datagrams from anyone else are skipped. The socket's deadline bounds it.
func (c *Client) read(id int64) (json.RawMessage, error) {
	for {
		n, from, err := c.conn.ReadFromUnix(c.buf)
		if err != nil {
			return nil, fmt.Errorf("wait for the answer: %w", err)
		}
		if from == nil || from.Name != c.server.Name {
			continue
		}
		var reply rpcReply
		if err := json.Unmarshal(c.buf[:n], &reply); err != nil || reply.ID != id {
			continue
		}
		if reply.Error != nil {
			return nil, reply.Error
		}
		return bytes.Clone(reply.Result), nil
	}
}

// Version returns Kamailio's version line, for example "kamailio 5.6.3 (x86_64/linux)".
func (c *Client) Version(ctx context.Context) (string, error) {
	var v string
	err := c.Call(ctx, "core.version", nil, &v)
	return strings.TrimSpace(v), err
}

// Uptime returns how long this Kamailio has been running, to the second.
func (c *Client) Uptime(ctx context.Context) (time.Duration, error) {
	var v struct {
		Uptime int64 `json:"uptime"`
	}
	err := c.Call(ctx, "core.uptime", nil, &v)
	return time.Duration(v.Uptime) * time.Second, err
}

// DialogStats are the live dialogs by state (module dialog, dlg.stats_active).
type DialogStats struct {
	Starting   int `json:"starting"`   // nothing heard from the callee
	Connecting int `json:"connecting"` // ringing
	Answering  int `json:"answering"`  // answered, not acknowledged
	Ongoing    int `json:"ongoing"`
	All        int `json:"all"`
}

// DialogStats counts the live dialogs.
func (c *Client) DialogStats(ctx context.Context) (DialogStats, error) {
	var s DialogStats
	err := c.Call(ctx, "dlg.stats_active", nil, &s)
	return s, err
}

// HasDialog reports whether Kamailio lists a dialog of a Call-ID, in whatever state. It costs one
// hash lookup there.
func (c *Client) HasDialog(ctx context.Context, callID string) (bool, error) {
	if callID == "" {
		return false, errors.New("dlg.dlg_list: no Call-ID")
	}
	var found json.RawMessage
	if err := c.Call(ctx, "dlg.dlg_list", []any{callID}, &found); err != nil {
		return false, err
	}
	return !isEmpty(found), nil
}

// isEmpty reports whether a result is Kamailio's way of saying nothing: {} or [].
func isEmpty(result json.RawMessage) bool {
	rest := bytes.TrimSpace(result)
	if len(rest) < 2 || (rest[0] != '{' && rest[0] != '[') {
		return false
	}
	return len(bytes.TrimSpace(rest[1:len(rest)-1])) == 0
}

// Queued returns how many events wait in Kamailio's own memory (module mqueue).
func (c *Client) Queued(ctx context.Context) (int, error) {
	var queue struct {
		Size int `json:"size"`
	}
	err := c.Call(ctx, "mqueue.get_size", []any{"ev"}, &queue)
	return queue.Size, err
}

// Contacts returns how many contacts are registered in all location tables.
func (c *Client) Contacts(ctx context.Context) (int, error) {
	var lines []string // "usrloc:location_contacts = 3", one domain a line
	if err := c.Call(ctx, "stats.get_statistics", []any{"usrloc:"}, &lines); err != nil {
		return 0, err
	}
	sum := 0
	for _, line := range lines {
		name, value, ok := strings.Cut(line, " = ")
		if !ok || !strings.HasSuffix(name, "_contacts") {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil {
			return 0, fmt.Errorf("stats.get_statistics: %q: %w", line, err)
		}
		sum += n
	}
	return sum, nil
}
