package fsim

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// exchangeRaw sends bytes to a fresh connection of the event socket and returns all that comes until it is closed.
func exchangeRaw(t *testing.T, s *Server, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.ESL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%v after %q", err, got)
	}
	return string(got)
}

func TestESL_RepliesHaveTheRecordedForm(t *testing.T) {
	// Proves the frames of the event socket byte by byte, for what the recordings of a real FreeSWITCH hold: what an
	// application sent there is sent here, and must be answered with the same bytes.
	s, hasty := start(t, Options{}), start(t, Options{AuthTimeout: 300 * time.Millisecond})
	const accepted = "Content-Type: auth/request\n\nContent-Type: command/reply\nReply-Text: +OK accepted\n\n"
	const bye = "Content-Type: command/reply\nReply-Text: +OK bye\n\nContent-Type: text/disconnect-notice\nContent-Length: 67\n\n" + goodbye
	api := func(text string) string {
		return fmt.Sprintf("Content-Type: api/response\nContent-Length: %d\n\n%s", len(text), text)
	}
	reply := func(text string) string { return "Content-Type: command/reply\nReply-Text: " + text + "\n\n" }
	const nobody = "00000000-0000-0000-0000-000000000000"
	for _, row := range [][3]string{
		{"wrong password", "auth wrong\n\n", "Content-Type: auth/request\n\n" + reply("-ERR invalid") + "Content-Type: text/disconnect-notice\nContent-Length: 67\n\n" + goodbye},
		{"no password", "", "Content-Type: auth/request\n\nContent-Type: text/disconnect-notice\nContent-Length: 67\n\n" + goodbye},
		{"before auth", "api status\n\nauth ClueCon\n\nexit\n\n", "Content-Type: auth/request\n\n" + reply("-ERR command not found") + reply("+OK accepted") + bye},
		{"CRLF", "auth ClueCon\r\n\r\napi echo crlf works\r\n\r\nexit\r\n\r\n", accepted + api("crlf works") + bye},
		{"pipelined", "auth ClueCon\n\nbgapi echo x\nJob-UUID: j1\n\napi echo a b  c\n\nexit\n\n",
			accepted + "Content-Type: command/reply\nReply-Text: +OK Job-UUID: j1\nJob-UUID: j1\n\n" + api("a b  c") + bye},
		{"filters", "auth ClueCon\n\nevent plain CHANNEL_ANSWER DTMF\n\nfilter Event-Name DTMF\n\nfilter Unique-ID nothing\n\nfilter delete all\n\nexit\n\n",
			accepted + reply("+OK event listener enabled plain") + reply("+OK filter added. [Event-Name]=[DTMF]") + reply("+OK filter added. [Unique-ID]=[nothing]") +
				reply("+OK filter deleted. [all][]") + bye},
	} {
		at := s
		if row[1] == "" {
			at = hasty
		}
		if got := exchangeRaw(t, at, row[1]); got != row[2] {
			t.Errorf("%s:\n%q\nwant\n%q", row[0], got, row[2])
		}
	}
	for _, row := range [][2]string{
		{"foo", reply("-ERR command not found")}, {"api", reply("-ERR command not found")},
		{"api nosuchcommand with args", api("-ERR nosuchcommand Command not found!\n")},
		{"event plain", reply("-ERR no keywords supplied")}, {"event plain NOSUCH", reply("-ERR no keywords supplied")},
		{"event json CHANNEL_ANSWER NOSUCH", reply("+OK event listener enabled json")},
		{"noevents", reply("-ERR not listening for events")}, {"log bogus", reply("-ERR invalid log level")}, {"nolog", reply("-ERR not loging")},
		{"filter", reply("-ERR invalid syntax")}, {"filter Unique-ID", reply("-ERR invalid syntax")},
		{"filter delete Unique-ID", reply("+OK filter deleted. [Unique-ID][]")},
		{"linger", reply("-ERR not controlling a session")}, {"divert_events on", reply("-ERR not controlling a session.")},
		{"getvar foo", reply("-ERR command not found")}, {"resume", reply("-ERR command not found")},
		{"sendmsg " + nobody + "\ncall-command: hangup", reply("-ERR invalid session id [" + nobody + "]")},
		{"sendmsg\ncall-command: hangup", reply("-ERR invalid session id []")}, {"myevents " + nobody, reply("+OK Events Enabled")},
		{"api uuid_kill", api("-USAGE: <uuid> [cause]\n")}, {"api uuid_kill " + nobody, api("-ERR No such channel!\n")},
		{"api uuid_broadcast", api("-USAGE: <uuid> <path> [aleg|bleg|holdb|both]\n")},
		{"api uuid_broadcast " + nobody + " /tmp/x.wav both", api("-ERR invalid uuid\n")},
		{"api uuid_bridge " + nobody + " " + nobody, api("-ERR Invalid uuid\n")}, {"api uuid_transfer " + nobody + " park", api("-ERR No such channel!\n")},
		{"api uuid_park " + nobody, api("-ERR No such channel!\n")}, {"api uuid_media off " + nobody, api("-ERR Operation failed\n")},
		{"api uuid_getvar " + nobody + " x", api("-ERR No such channel!\n")}, {"api uuid_setvar " + nobody + " x y", api("-ERR No such channel!\n")},
		{"api uuid_break " + nobody + " all", api("-ERR No such channel!\n")}, {"api uuid_hold " + nobody, api("+OK Success\n")},
		{"api uuid_record " + nobody + " start /tmp/x.wav", api("-ERR Cannot locate session!\n")}, {"api uuid_dump " + nobody, api("-ERR No such channel!\n")},
		{"api uuid_answer " + nobody, api("-ERROR\n")}, {"api uuid_exists " + nobody, api("false")},
		{"api originate sofia/nosuch/x@127.0.0.1 &park", api("-ERR INVALID_PROFILE\n")}, {"api originate nosuch/x &park", api("-ERR CHAN_NOT_IMPLEMENTED\n")},
		{"api originate user/1000 &park", api("-ERR SUBSCRIBER_ABSENT\n")}, {"api conference nosuch list", api("-ERR Conference nosuch not found\n")},
		{"api hupall", api("+OK hangup all channels with cause MANAGER_REQUEST\n")}, {"api reloadxml", api("+OK [Success]\n")},
		{"api sched_hangup +1 " + nobody, api("-ERR No such channel!\n")}, {"api eval ${nosuch}", api("-ERR no reply\n")},
		{"api show channels count", api("\n0 total.\n")},
	} {
		if got := exchangeRaw(t, s, "auth ClueCon\n\n"+row[0]+"\n\nexit\n\n"); got != accepted+row[1]+bye {
			t.Errorf("%s:\n%q\nwant\n%q", row[0], strings.TrimSuffix(strings.TrimPrefix(got, accepted), bye), row[1])
		}
	}
}

func TestESL_StrangersAreSentAway(t *testing.T) {
	// Proves the refusal by ACL: text/rude-rejection, then the disconnect notice, as recorded.
	s := start(t, Options{ACL: []string{"192.0.2.0/24"}})
	conn, err := net.Dial("tcp", s.ESL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := io.ReadAll(conn)
	want := "Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\nContent-Type: text/disconnect-notice\nContent-Length: 67\n\n" + goodbye
	if err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
}

func TestESL_EventsInBothFormats(t *testing.T) {
	// Proves the two formats of an event: values encoded and a list as ARRAY:: in plain, a real array and a name that
	// stands twice in JSON, and the body of each.
	e := &event{}
	e.add("A", "x +/,=ü").add("L", "ARRAY::8084|:8085").add("Hangup-Cause", "A").add("Hangup-Cause", "B")
	e.body = "two\nlines"
	if got, want := string(e.plain()), "A: x%20%2B/,%3D%C3%BC\nL: ARRAY%3A%3A8084%7C%3A8085\nHangup-Cause: A\nHangup-Cause: B\nContent-Length: 9\n\ntwo\nlines"; got != want {
		t.Errorf("plain %q, want %q", got, want)
	}
	text := string(e.json())
	if want := `{"A":"x +/,=ü","L":["8084","8085"],"Hangup-Cause":"A","Hangup-Cause":"B","Content-Length":"9","_body":"two\nlines"}`; text != want {
		t.Errorf("JSON %s, want %s", text, want)
	}
	if !json.Valid([]byte(text)) {
		t.Error("that is no JSON")
	}
}

func TestESL_ASlowAPIDelaysEventsOfItsConnection(t *testing.T) {
	// Proves facts 1.9: while `api` runs the connection delivers nothing; behind it the event comes.
	s := start(t, Options{})
	in := dialIn(t, s)
	in.must(t, "event plain CUSTOM test::ping", "+OK")
	fired := time.AfterFunc(50*time.Millisecond, func() { s.fire(s.custom("test::ping")) })
	defer fired.Stop()
	in.must(t, "api msleep 400", "+OK")
	select {
	case <-in.events:
	case <-time.After(patience):
		t.Error("the event never came")
	}
}

func TestESL_AClientThatDoesNotReadIsCut(t *testing.T) {
	// Proves facts 1.13: events wait for a client that does not read, up to a limit; then it is cut and the others live on.
	s := start(t, Options{})
	deaf, err := net.Dial("tcp", s.ESL)
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	io.WriteString(deaf, "auth ClueCon\n\nevent plain ALL\n\n")
	r := bufio.NewReader(deaf)
	for seen := ""; !strings.Contains(seen, "enabled plain"); {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		seen += line
	}
	big := strings.Repeat("x", 500)
	for range mostQueued + mostLost + 20_000 {
		e := &event{name: "HEARTBEAT"}
		s.fire(e.add("Event-Name", "HEARTBEAT").add("X", big))
	}
	deaf.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, r); err != nil && os.IsTimeout(err) {
		t.Error("the client was not cut")
	}
	dialIn(t, s).must(t, "api echo alive", "alive")
}

func TestShutdown_InOrderAndByKill(t *testing.T) {
	// Proves the two ends: Shutdown tells clients and hangs calls up; Close leaves the caller without a BYE and the client
	// with the end of the connection.
	ctx := testContext(t)
	a := newApp(t)
	s := start(t, Options{Outbound: []string{a.addr()}})
	call, _ := answered(ctx, t, s, a, "1001")
	in := dialIn(t, s)
	in.must(t, "event plain SHUTDOWN CHANNEL_HANGUP_COMPLETE", "+OK")
	ending, stop := context.WithTimeout(ctx, 6*time.Second)
	defer stop()
	if err := s.Shutdown(ending); err != nil {
		t.Error(err)
	}
	in.event(t, "SHUTDOWN")
	in.event(t, "CHANNEL_HANGUP_COMPLETE", "Hangup-Cause", "SYSTEM_SHUTDOWN")
	select {
	case <-call.Done():
	case <-ctx.Done():
		t.Error("the caller got no BYE")
	}
	if got := <-in.notices; !strings.HasPrefix(got, "The system is being shut down.") {
		t.Errorf("notice %q", got)
	}
	s = start(t, Options{Outbound: []string{a.addr()}})
	call, c := answered(ctx, t, s, a, "1002")
	s.Close()
	select {
	case _, more := <-c.notices:
		if more {
			t.Error("a killed switch says goodbye")
		}
	case <-ctx.Done():
		t.Error("the connection is still open")
	}
	select {
	case <-call.Done():
		t.Error("a killed switch sent BYE")
	default:
	}
}

func TestDialplan_IsThatOfFreeswitchCfg(t *testing.T) {
	// Proves that a call goes the same way here as on a real FreeSWITCH: the actions are compared with those of
	// freeswitch-cfg/dialplan/sipio.xml, one by one.
	raw, err := os.ReadFile("../../freeswitch-cfg/dialplan/sipio.xml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Contexts []struct {
			Name       string `xml:"name,attr"`
			Extensions []struct {
				Name    string `xml:"name,attr"`
				Actions []struct {
					App  string `xml:"application,attr"`
					Data string `xml:"data,attr"`
				} `xml:"condition>action"`
			} `xml:"extension"`
		} `xml:"context"`
	}
	if err := xml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{Outbound: []string{"127.0.0.1:8484", "127.0.0.1:8485"}})
	ours := map[string][]Action{"sipio call": s.dialplan(), "away answered": s.away(true), "away unanswered": s.away(false)}
	for _, c := range file.Contexts {
		for _, e := range c.Extensions {
			name := c.Name + " " + e.Name
			var theirs []Action
			for _, a := range e.Actions {
				theirs = append(theirs, Action{a.App, strings.ReplaceAll(a.Data, "$${agents}", "127.0.0.1:8484|127.0.0.1:8485")})
			}
			if fmt.Sprint(theirs) != fmt.Sprint(ours[name]) {
				t.Errorf("%s is\n%v\nwant\n%v", name, ours[name], theirs)
			}
			delete(ours, name)
		}
	}
	if len(ours) > 0 {
		t.Errorf("freeswitch-cfg has no %v", ours)
	}
}
