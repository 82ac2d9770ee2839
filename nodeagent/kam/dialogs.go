package kam

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// The list of all dialogs comes by dlg.dump_file, which writes a line of JSON for each dialog, with its
// variables, as it walks the table: 15 µs and 1 KB a dialog, one hash slot locked at a time, no memory of
// Kamailio's. (dlg.briefing builds its answer as a linked list and looks for the end of it at each step,
// 3.2 s of CPU for 36,000 Call-IDs, and when its memory ends it returns with a slot locked for ever.)
// The file must be a plain one: into a pipe Kamailio would wait for its reader with a slot locked.
//
// dlg.dump_file says ok whatever becomes of the file. What is read is held complete only when
//   - the file had room reserved for all that was written, so that no write can have failed for want of it,
//   - every line in it is whole, and
//   - no fewer dialogs are listed than are left of those that were there before.
const (
	maxLine    = 1 << 20         // of one dialog; a SIP message holds 64 KB, JSON escapes sextuple it at most
	maxDump    = 512 << 20       // bytes of a dump
	startRoom  = 2 << 10         // bytes reserved for a dialog, at least
	spareRoom  = 1 << 20         // bytes reserved besides, for the dialogs that begin meanwhile
	keepSize   = 1               // FALLOC_FL_KEEP_SIZE of fallocate(2): room behind the end of the file
	stateEnded = 5               // DLG_STATE_DELETED in Kamailio's dlg_hash.h: over, kept for its last messages
	nameWithin = 3 * time.Second // a dialog is named microseconds after it begins
)

// MaxDialogs is how many dialogs one list may hold: twice what a node is built for.
const MaxDialogs = 100_000

// ErrIncomplete says that a list of dialogs may lack some, so that none was returned.
var ErrIncomplete = errors.New("the list of dialogs may not be complete")

// Lister makes complete lists of Kamailio's dialogs. Its client should be its own: a list of 36,000
// dialogs keeps one of Kamailio's RPC processes busy for half a second.
type Lister struct {
	client *Client
	path   string // of the file, which Kamailio writes
	room   int64  // bytes to reserve for a dialog

	nameless atomic.Int64
}

// NewLister makes a Lister whose client may wait for a list as long as its timeout. Kamailio writes the lists
// into the file path, absolute, best on a tmpfs: while it writes it holds a lock of its dialog table.
func NewLister(client *Client, path string) *Lister {
	return &Lister{client: client, path: path, room: startRoom}
}

// Boot returns the name of Kamailio's present life, the one its events carry, and the second it began in
// (epoch). It is unknown during the first 100 ms of that life.
func (l *Lister) Boot(ctx context.Context) (name string, sec int64, err error) {
	var shared struct {
		Value any `json:"value"`
	}
	if err := l.client.Call(ctx, "pv.shvGet", []any{"boot"}, &shared); err != nil {
		return "", 0, err
	}
	name, _ = shared.Value.(string)
	began, _, ok := strings.Cut(name, "-")
	sec, err = strconv.ParseInt(began, 10, 64)
	if !ok || err != nil || sec <= 0 {
		return "", 0, fmt.Errorf("pv.shvGet boot: %v is not the second of a start and a process", shared.Value)
	}
	return name, sec, nil
}

// Dialogs returns every dialog that lives throughout the call, whatever its state, in no order. A list that
// may lack one is ErrIncomplete instead.
func (l *Lister) Dialogs(ctx context.Context) ([]api.Dialog, error) {
	now := time.Now()
	stats, err := l.client.DialogStats(ctx)
	if err != nil {
		return nil, err
	}
	if stats.All > MaxDialogs {
		return nil, fmt.Errorf("%d dialogs, at most %d can be listed", stats.All, MaxDialogs)
	}
	begun, err := l.begun(ctx)
	if err != nil {
		return nil, err
	}
	room := min(int64(stats.All)*l.room+spareRoom, maxDump)
	file, err := l.reserve(room)
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(l.path); _ = file.Close() }()
	if err := l.client.Call(ctx, "dlg.dump_file", []any{l.path}, nil); err != nil {
		return nil, err
	}
	got, err := readDump(file, now.Add(-nameWithin).Unix())
	if got.lines > 0 {
		l.room = max(startRoom, 2*got.size/int64(got.lines))
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrIncomplete, err)
	case got.size > room:
		return nil, fmt.Errorf("%w: it has %d bytes, room was made for %d", ErrIncomplete, got.size, room)
	}
	if err := l.compare(ctx, got.live, begun); err != nil {
		return nil, err
	}
	l.nameless.Store(int64(got.nameless))
	return got.dialogs, nil
}

// Nameless returns how many dialogs of the last list carried no name of a call. They are left out: the brain
// knows calls by their names. None should be there.
func (l *Lister) Nameless() int { return int(l.nameless.Load()) }

// begun returns how many dialogs have begun in this life of Kamailio.
func (l *Lister) begun(ctx context.Context) (int, error) {
	var lines []string
	if err := l.client.Call(ctx, "stats.get_statistics", []any{"dialog:"}, &lines); err != nil {
		return 0, err
	}
	for _, line := range lines {
		if value, ok := strings.CutPrefix(line, "dialog:processed_dialogs = "); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, errors.New("stats.get_statistics: no dialog:processed_dialogs")
}

// compare holds the number of dialogs listed against those there are now: all that did not begin meanwhile
// must be among them.
func (l *Lister) compare(ctx context.Context, listed, begun int) error {
	stats, err := l.client.DialogStats(ctx)
	if err != nil {
		return err
	}
	now, err := l.begun(ctx)
	if err != nil {
		return err
	}
	if now < begun || listed < stats.All-(now-begun) {
		return fmt.Errorf("%w: %d listed of %d, %d of which began meanwhile", ErrIncomplete, listed, stats.All, now-begun)
	}
	return nil
}

// reserve makes the file with room for so many bytes, for Kamailio alone.
func (l *Lister) reserve(room int64) (*os.File, error) {
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the last list of dialogs: %w", err)
	}
	file, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the list of dialogs: %w", err)
	}
	if err = l.hand(file); err == nil {
		err = syscall.Fallocate(int(file.Fd()), keepSize, 0, room)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make room for the list of dialogs in %s: %w", l.path, err), file.Close(), os.Remove(l.path))
	}
	return file, nil
}

// hand gives the file to the user Kamailio runs as, whose socket it is, when this process runs as root.
func (l *Lister) hand(file *os.File) error {
	info, err := os.Stat(l.client.server.Name)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}
	return file.Chown(int(owner.Uid), int(owner.Gid))
}

// dump is what a file of dlg.dump_file says.
type dump struct {
	dialogs  []api.Dialog
	lines    int
	live     int // dialogs that are not over
	nameless int // of them begun long enough ago and still without the name of a call
	size     int64
}

// dumpLine is what is read of one line.
type dumpLine struct {
	CallID    *string `json:"call_id"`
	State     int     `json:"state"`
	BeganSec  int64   `json:"init_ts"`
	Variables *struct {
		Call string `json:"call"` // dlg_var(call): a form, written by kamailio-cfg/route/call.cfg
	} `json:"variables"`
}

// readDump reads a whole dump. A line that is cut or makes no sense is an error, with what was counted so far.
func readDump(from io.Reader, named int64) (dump, error) {
	var d dump
	r := bufio.NewReaderSize(from, maxLine)
	for {
		raw, err := r.ReadSlice('\n')
		d.size += int64(len(raw))
		switch {
		case err == io.EOF && len(raw) == 0:
			return d, nil
		case err != nil:
			return d, fmt.Errorf("line %d of the dump: %w", d.lines+1, err)
		}
		d.lines++
		if err := d.take(raw, named); err != nil {
			return d, fmt.Errorf("line %d of the dump: %w", d.lines, err)
		}
		if d.lines > MaxDialogs {
			return d, fmt.Errorf("more than %d lines in the dump", MaxDialogs)
		}
	}
}

// take adds one line. A dialog that began before named (epoch seconds) should have its name by now.
func (d *dump) take(raw []byte, named int64) error {
	var line dumpLine
	if err := json.Unmarshal(raw, &line); err != nil {
		return err
	}
	if line.CallID == nil || line.Variables == nil || line.State < 1 || line.State > stateEnded {
		return errors.New("no dialog")
	}
	if line.State == stateEnded {
		return nil
	}
	d.live++
	call, err := url.ParseQuery(line.Variables.Call)
	if err != nil || call.Get("account_id") == "" || call.Get("token") == "" {
		if line.BeganSec < named {
			d.nameless++
		}
		return nil
	}
	d.dialogs = append(d.dialogs, api.Dialog{
		AccountID: call.Get("account_id"), Token: call.Get("token"), CallID: *line.CallID,
		From: call.Get("from"), To: call.Get("to"), SinceMS: line.BeganSec * 1000,
	})
	return nil
}
