package kam

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// A real Kamailio's list names every dialog with the call it belongs to, whatever bytes its Call-ID has; it
// leaves nothing behind on the disk, and the name of Kamailio's life is the one its configuration gave.
func TestLister_ListsARealKamailio(t *testing.T) {
	socket, phone := startKamailio(t)
	c, ctx := openClient(t, socket, 5*time.Second), t.Context()
	l := NewLister(c, socket+".dialogs")
	if list, err := l.Dialogs(ctx); err != nil || len(list) != 0 {
		t.Errorf("an idle Kamailio: %v, %v", list, err)
	}
	if _, _, err := l.Boot(ctx); err == nil {
		t.Error("a life without a name has one")
	}
	calls := []string{"plain@x", `quoted"\<&>@x`, "12345", "h\u00e9@x", "tab\there"}
	for _, id := range calls {
		phone.invite(t, id)
	}
	eventually(t, "the dialogs are there", func() bool { s, err := c.DialogStats(ctx); return err == nil && s.All == len(calls) })
	began := time.Now()
	list, err := l.Dialogs(ctx)
	got := map[string]api.Dialog{}
	for _, d := range list {
		got[d.CallID] = d
	}
	if err != nil || len(list) != len(calls) {
		t.Fatalf("list %v, %v", list, err)
	}
	for _, id := range calls {
		d := got[id]
		if d.AccountID != "acc_1" || !strings.HasPrefix(d.Token, "tok") || d.From != "sip:a@x" || d.To != "sip:b@127.0.0.1" {
			t.Errorf("%q is listed as %+v", id, d)
		}
		if age := began.Sub(time.UnixMilli(d.SinceMS)); age < 0 || age > 20*time.Second {
			t.Errorf("%q began %v ago", id, age)
		}
	}
	name, sec, err := l.Boot(ctx)
	if age := time.Since(time.Unix(sec, 0)); err != nil || age < 0 || age > time.Minute || !strings.HasPrefix(name, fmt.Sprintf("%d-", sec)) {
		t.Errorf("Boot: %q, %d, %v", name, sec, err)
	}
	if _, err := os.Stat(socket + ".dialogs"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

// dumper is a Kamailio whose dump is what a test says; live and begun are its counters at each question.
type dumper struct {
	live, begun []int
	dump        string
}

// lister makes a Lister of a dumper. The counters go on with their last value.
func (d *dumper) lister(t *testing.T) *Lister {
	t.Helper()
	next := func(of *[]int) (n int) {
		if n = (*of)[0]; len(*of) > 1 {
			*of = (*of)[1:]
		}
		return n
	}
	server := fakeKamailio(t, func(conn *net.UnixConn, from *net.UnixAddr, request string) {
		result := "{}"
		switch {
		case strings.Contains(request, "stats_active"):
			result = fmt.Sprintf(`{"all":%d}`, next(&d.live))
		case strings.Contains(request, "get_statistics"):
			result = fmt.Sprintf(`["dialog:active_dialogs = 9","dialog:processed_dialogs = %d"]`, next(&d.begun))
		case strings.Contains(request, "dump_file"):
			_, path, _ := strings.Cut(request, `"params":["`)
			path, _, _ = strings.Cut(path, `"`)
			if d.dump != "" { // as Kamailio opens it: a+
				f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
				if err == nil {
					_, _ = f.WriteString(d.dump)
					_ = f.Close()
				}
			}
		}
		id := request[strings.Index(request, `"id":`)+5 : strings.LastIndex(request, "}")]
		_, _ = conn.WriteToUnix(fmt.Appendf(nil, `{"jsonrpc":"2.0","result":%s,"id":%s}`, result, id), from)
	})
	return NewLister(openClient(t, server, 5*time.Second), filepath.Join(filepath.Dir(server), "list"))
}

// line is a dialog in a dump.
func line(n, state int, began int64, call string) string {
	return fmt.Sprintf(`{"h_entry":%d,"call_id":"c%d","state":%d,"init_ts":%d,"variables":{"media":"{}","call":"%s"}}`+"\n", n, n, state, began, call)
}

// Whatever is wrong with a dump, cut, empty, mangled, too short for what Kamailio counts, longer than its room:
// there is no list at all, and the error says that it may not be complete.
func TestLister_NeverReturnsAShorterList(t *testing.T) {
	three := line(1, 4, 1, "account_id=a&token=t1") + line(2, 4, 1, "account_id=a&token=t2") + line(3, 2, 1, "account_id=a&token=t3")
	for name, c := range map[string]struct {
		dumper
		want int // dialogs, -1 = ErrIncomplete
	}{
		"whole":                        {dumper{[]int{3}, []int{7}, three}, 3},
		"one ended meanwhile":          {dumper{[]int{3, 2}, []int{7}, three}, 3},
		"one began meanwhile":          {dumper{[]int{3, 4}, []int{7, 8}, three}, 3},
		"all ended meanwhile":          {dumper{[]int{3, 0}, []int{7}, ""}, 0},
		"not written at all":           {dumper{[]int{3}, []int{7}, ""}, -1},
		"cut in a line":                {dumper{[]int{3}, []int{7}, three[:len(three)-20]}, -1},
		"cut before the line break":    {dumper{[]int{3}, []int{7}, three[:len(three)-1]}, -1},
		"cut between lines":            {dumper{[]int{3}, []int{7}, three[:strings.LastIndex(three[:len(three)-1], "\n")+1]}, -1},
		"one missing, one began":       {dumper{[]int{3, 5}, []int{7, 8}, three}, -1},
		"Kamailio counts anew":         {dumper{[]int{3, 1}, []int{7, 1}, three}, -1},
		"a line that is no dialog":     {dumper{[]int{3}, []int{7}, three + "{}\n"}, -1},
		"a dialog without variables":   {dumper{[]int{1}, []int{7}, `{"call_id":"c","state":4,"init_ts":1}` + "\n"}, -1},
		"garbage":                      {dumper{[]int{1}, []int{7}, "\x00\xff\n"}, -1},
		"more than there is room for":  {dumper{[]int{1}, []int{7}, strings.Repeat(line(1, 4, 1, "account_id=a&token="+strings.Repeat("t", 900)), 1200)}, -1},
		"ended dialogs are no dialogs": {dumper{[]int{1}, []int{7}, line(1, 4, 1, "account_id=a&token=t1") + line(2, 5, 1, "")}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := c.lister(t).Dialogs(t.Context())
			if c.want < 0 && (!errors.Is(err, ErrIncomplete) || list != nil) {
				t.Errorf("%d dialogs, %v; want ErrIncomplete", len(list), err)
			}
			if c.want >= 0 && (err != nil || len(list) != c.want) {
				t.Errorf("%d dialogs, %v; want %d", len(list), err, c.want)
			}
		})
	}
}

// A dialog that is not named is left out; only one that should have its name by now is counted as nameless.
func TestLister_CountsDialogsWithoutACall(t *testing.T) {
	now := time.Now().Unix()
	d := &dumper{[]int{4}, []int{4}, line(1, 4, now, "account_id=a&token=t") + line(2, 1, now, "") + line(3, 4, now-60, "") + line(4, 4, now-60, "token=t;%")}
	l := d.lister(t)
	if list, err := l.Dialogs(t.Context()); err != nil || len(list) != 1 || l.Nameless() != 2 {
		t.Errorf("%v, %v, nameless %d; want one dialog and two nameless", list, err, l.Nameless())
	}
}

// Dialogs with lines longer than usual fit once their length is known: the second list is whole.
func TestLister_MakesRoomForWhatItSaw(t *testing.T) {
	long := strings.Repeat(line(1, 4, 1, "account_id=a&token=t&from="+strings.Repeat("x", 30_000)), 100)
	l := (&dumper{[]int{100}, []int{100}, long}).lister(t)
	if _, err := l.Dialogs(t.Context()); !errors.Is(err, ErrIncomplete) {
		t.Errorf("first: %v, want ErrIncomplete", err)
	}
	if list, err := l.Dialogs(t.Context()); err != nil || len(list) != 100 {
		t.Errorf("second: %d dialogs, %v", len(list), err)
	}
}

// Where no file can be made there is no list, and Kamailio is not asked for one.
func TestLister_NeedsItsFile(t *testing.T) {
	d := &dumper{live: []int{0}, begun: []int{0}}
	l := d.lister(t)
	l.path = filepath.Join(t.TempDir(), "missing", "list")
	if _, err := l.Dialogs(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want the file's error", err)
	}
}

// Whatever a dump holds, reading it does not panic, counts no more dialogs than lines, and takes only dumps
// that end with a line break.
func FuzzReadDump(f *testing.F) {
	for _, s := range []string{"", "\n", "{}\n", line(1, 4, 1, "account_id=a&token=t"), line(2, 5, 1, ""), line(1, 4, 1, "%"), `{"call_id":1}` + "\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := readDump(strings.NewReader(text), 100)
		if len(d.dialogs)+d.nameless > d.live || d.live > d.lines || d.lines > strings.Count(text, "\n") || d.size > int64(len(text)) {
			t.Fatalf("counted %d dialogs, %d live, %d lines", len(d.dialogs), d.live, d.lines)
		}
		if err == nil && (d.size != int64(len(text)) || text != "" && !strings.HasSuffix(text, "\n")) {
			t.Fatalf("taken although it is not whole: %q", text)
		}
		for _, dialog := range d.dialogs {
			if dialog.Token == "" || dialog.AccountID == "" {
				t.Fatalf("a dialog without a name: %+v", dialog)
			}
		}
	})
}
