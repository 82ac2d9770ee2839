package door

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// fakeSpool keeps events in memory and fails on demand.
type fakeSpool struct {
	got  []api.Event
	boot string
	err  error
}

func (s *fakeSpool) Append(_, boot string, events []api.Event) (int64, []api.Event, error) {
	if s.err != nil {
		return 0, nil, s.err
	}
	s.got, s.boot = append(s.got, events...), boot
	return int64(len(s.got)), events, nil
}

func eventLine(seq int, more string) string {
	return fmt.Sprintf("seq=%d&time_ms=1700000000000&type=contact.saved%s\n", seq, more)
}

// A batch becomes events field by field, urlencoded bytes included, and is acknowledged with the
// spool's last sequence number.
func TestPresenceEvent_TakesABatch(t *testing.T) {
	spool := &fakeSpool{}
	addr, _ := serveDoor(t, func(c *Config) { c.Spool = spool }, "http://127.0.0.1:1")
	v := url.Values{"aor": {"sip:zoë@pbx.example"}, "contact": {"<sip:a@192.0.2.1;x=1&y>"}, "expires_sec": {"300"}, "call_id": {"a+b c"}, "sip_code": {"486"}}
	body := "node=edge1&boot=1700000000\n" + eventLine(1, "&"+v.Encode()) + "\n\r\n" + eventLine(2, "")
	said := talk(t, addr, fmt.Sprintf("POST /presence/event HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	if !strings.HasSuffix(said, `{"last_seq":2}`) {
		t.Fatalf("said %q", said)
	}
	want := api.Event{Seq: 1, TimeMS: 1700000000000, Type: "contact.saved", AOR: "sip:zoë@pbx.example", Contact: "<sip:a@192.0.2.1;x=1&y>", ExpiresS: 300, CallID: "a+b c", SIPCode: 486}
	if len(spool.got) != 2 || spool.got[0] != want || spool.boot != "1700000000" {
		t.Errorf("spooled %+v of boot %q, want %+v first", spool.got, spool.boot, want)
	}
}

// Every field that an event has is read from its line, but for the count, which is the spool's: what Kamailio tells of a call is lost nowhere.
func TestParseEvent_ReadsEveryField(t *testing.T) {
	form := url.Values{}
	var want api.Event
	v := reflect.ValueOf(&want).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		switch f := v.Field(i); {
		case name == "count":
		case f.Kind() == reflect.String:
			f.SetString("x" + name)
			form.Set(name, "x"+name)
		default:
			f.SetInt(int64(i + 1))
			form.Set(name, fmt.Sprint(i+1))
		}
	}
	if got, err := parseEvent([]byte(form.Encode())); err != nil || got != want {
		t.Errorf("read %+v, %v, want %+v", got, err, want)
	}
}

// What is not on disk is not acknowledged: Kamailio keeps the batch and posts it again.
func TestPresenceEvent_IsNotAcknowledgedWhenTheSpoolFails(t *testing.T) {
	addr, _ := serveDoor(t, func(c *Config) { c.Spool = &fakeSpool{err: errors.New("disk full")} }, "http://127.0.0.1:1")
	body := "node=edge1&boot=1\n" + eventLine(1, "")
	said := talk(t, addr, fmt.Sprintf("POST /presence/event HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	if !strings.HasPrefix(said, "HTTP/1.1 503") {
		t.Errorf("said %q", said)
	}
}

// A malformed line is dropped and counted, and never costs the lines around it.
func TestParseBatch_DropsBadLinesOnly(t *testing.T) {
	bad := []string{
		"type=contact.saved", "seq=0&type=x", "seq=-1&type=x", "seq=9&type=", "seq=1x&type=x", "seq=9&type=a%20b", "%zz",
		"seq=9&type=x&seq=10", "seq=9&type=x&expires_sec=99999999999", "seq=9&type=x&from=" + strings.Repeat("a", maxEventField+1),
		"seq=9&type=x&a=" + strings.Repeat("a", maxEventLine),
	}
	for _, line := range bad {
		batch, dropped, err := parseBatch([]byte("node=n&boot=b\n" + eventLine(1, "") + line + "\n" + eventLine(2, "")))
		if err != nil || len(dropped) != 1 || len(batch.Events) != 2 || batch.Events[1].Seq != 2 {
			t.Errorf("line %.40q: events %+v, dropped %v, error %v; want it alone dropped", line, batch.Events, dropped, err)
		}
	}
}

// A batch without its names is refused as a whole; of one with too many events the rest is dropped,
// because Kamailio would post a refused batch again for ever.
func TestParseBatch_RefusesNamelessAndCutsOversizedBatches(t *testing.T) {
	for _, body := range []string{
		"", "\n", "node=n\n" + eventLine(1, ""), "boot=b\n", "node=a%0Ab&boot=b\n", "node=n&boot=" + strings.Repeat("b", maxBootName+1) + "\n",
	} {
		if _, _, err := parseBatch([]byte(body)); err == nil {
			t.Errorf("batch %.60q was taken", body)
		}
	}
	batch, bad, err := parseBatch([]byte("node=n&boot=b\n" + strings.Repeat("seq=1&type=x\n", maxEvents+2)))
	if err != nil || len(batch.Events) != maxEvents || len(bad) != 2 {
		t.Errorf("an oversized batch: %d events, %d dropped, %v", len(batch.Events), len(bad), err)
	}
}

// No bytes make the parser panic, and what it takes keeps its bounds.
func FuzzParseBatch(f *testing.F) {
	f.Add([]byte("node=n&boot=b\n" + eventLine(1, "&from=sip%3Aa")))
	f.Fuzz(func(t *testing.T, body []byte) {
		batch, _, err := parseBatch(body)
		if err != nil {
			return
		}
		if len(batch.Events) > maxEvents || batch.Node == "" || batch.Boot == "" {
			t.Errorf("took %d events, node %q, boot %q", len(batch.Events), batch.Node, batch.Boot)
		}
		for _, ev := range batch.Events {
			if ev.Seq < 1 || ev.TimeMS < 0 || ev.ExpiresS < 0 || ev.SIPCode < 0 || ev.SIPCode > 1023 {
				t.Errorf("took %+v", ev)
			}
		}
	})
}
