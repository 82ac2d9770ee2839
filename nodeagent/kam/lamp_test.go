package kam

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

// receive returns the next SIP message that begins with a word, answering each request with 200.
func (p phone) receive(t *testing.T, begins string) string {
	t.Helper()
	buf := make([]byte, 1<<16)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		_ = p.conn.SetReadDeadline(deadline)
		n, from, err := p.conn.ReadFrom(buf)
		if err != nil {
			break
		}
		msg := string(buf[:n])
		if !strings.HasPrefix(msg, "SIP/2.0") && !strings.HasPrefix(msg, "ACK") {
			p.accept(t, msg, from)
		}
		if strings.HasPrefix(msg, begins) {
			return msg
		}
	}
	t.Fatalf("no %s came", begins)
	return ""
}

var copied = regexp.MustCompile(`(?m)^(Via|From|Call-ID|CSeq|Record-Route): .*\r\n`)
var toLine = regexp.MustCompile(`(?m)^To: (.*)\r\n`)

// accept answers a request with 200.
func (p phone) accept(t *testing.T, request string, to net.Addr) {
	t.Helper()
	head := strings.Join(copied.FindAllString(request, -1), "")
	callee := toLine.FindStringSubmatch(request)[1]
	if !strings.Contains(callee, "tag=") {
		callee += ";tag=callee"
	}
	msg := fmt.Sprintf("SIP/2.0 200 OK\r\n%sTo: %s\r\nContact: <sip:b@%s>\r\nContent-Length: 0\r\n\r\n", head, callee, p.conn.LocalAddr())
	if _, err := p.conn.WriteTo([]byte(msg), to); err != nil {
		t.Fatal(err)
	}
}

func TestLamp_PhoneGetsItsNotify(t *testing.T) {
	// Proves the whole way by a real Kamailio: a registered phone gets a NOTIFY with the counts of RFC 3842 at its contact.
	socket, phone := startKamailio(t)
	c := openClient(t, socket, 5*time.Second)
	lamp, err := NewLamp(c, "node.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := lamp.Set(t.Context(), "a@x", 1, 0); !errors.Is(err, ErrNoContact) {
		t.Errorf("a device without contact: %v", err)
	}
	phone.send(t, "REGISTER", "reg@x", fmt.Sprintf("Contact: <sip:a@%s;line=1>;expires=60\r\n", phone.conn.LocalAddr()))
	phone.receive(t, "SIP/2.0 200")
	if err := lamp.Set(t.Context(), "sip:a@x", 2, 5); err != nil {
		t.Fatal(err)
	}
	got := phone.receive(t, "NOTIFY sip:a@")
	for _, want := range []string{";line=1 SIP/2.0\r\n", "\r\nEvent: message-summary\r\n", "\r\nSubscription-State: active\r\n",
		"\r\nContent-Type: application/simple-message-summary\r\n", "\r\nTo: <sip:a@x>", "From: <sip:voicemail@node.example>",
		"\r\n\r\nMessages-Waiting: yes\r\nMessage-Account: sip:a@x\r\nVoice-Message: 2/5 (0/0)\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestEndDialog_BothEndsGetABye(t *testing.T) {
	// Proves that an answered call whose media server died is ended at the edge, by a real Kamailio: caller and callee get BYE, and
	// the dialog is gone. A call that rings, and none at all, are left alone without an error.
	socket, phone := startKamailio(t)
	c := openClient(t, socket, 5*time.Second)
	phone.send(t, "INVITE", "answered@x", fmt.Sprintf("Contact: <sip:a@%s>\r\n", phone.conn.LocalAddr()))
	phone.receive(t, "INVITE")
	phone.receive(t, "SIP/2.0 200")
	if err := c.EndDialog(t.Context(), "answered@x"); err != nil {
		t.Fatal(err)
	}
	first, second := phone.receive(t, "BYE"), phone.receive(t, "BYE")
	if strings.Contains(first, "tag=f") == false || first == second {
		t.Errorf("BYEs:\n%s\n%s", first, second)
	}
	eventually(t, "the dialog is gone", func() bool {
		s, err := c.DialogStats(t.Context())
		return err == nil && s.Ongoing == 0 && s.Answering == 0
	})
	phone.invite(t, "rings@x")
	eventually(t, "the second call is there", func() bool { has, err := c.HasDialog(t.Context(), "rings@x"); return err == nil && has })
	for _, id := range []string{"rings@x", "none@x"} {
		if err := c.EndDialog(t.Context(), id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestLamp_WritesTheseMessages(t *testing.T) {
	// Proves the RPC's parameters, by comparing them with the ones written here: a phone behind NAT is told through the address
	// it was heard from, one behind a proxy through its Path, and nothing of a contact becomes a header.
	lamp := &Lamp{domain: "n"}
	for name, row := range map[string]struct {
		contact contact
		want    string
	}{
		"plain": {contact{Address: "sip:a@192.0.2.1:5062"}, `["NOTIFY","sip:a@192.0.2.1:5062",".","."`},
		"nat":   {contact{Address: "sip:a@10.0.0.2", Received: "sip:192.0.2.7:4000", Socket: "udp:192.0.2.1:5060"}, `["NOTIFY","sip:a@10.0.0.2","sip:192.0.2.7:4000","udp:192.0.2.1:5060"`},
		"unset": {contact{Address: "sip:a@h", Received: "[not set]", Path: "[not set]", Socket: "[not set]"}, `["NOTIFY","sip:a@h",".","."`},
		"path":  {contact{Address: "sip:a@h", Received: "sip:192.0.2.7", Path: `<sip:edge;lr>,<sip:other>`}, `["NOTIFY","sip:a@h","sip:edge;lr","."`},
	} {
		got, err := json.Marshal(lamp.notify("a@x", row.contact, 0, 3)[:4])
		if err != nil || string(got) != row.want+"]" && string(unescape(got)) != row.want+"]" {
			t.Errorf("%s: %s, %v; want %s]", name, got, err, row.want)
		}
	}
	params := lamp.notify("a@x", contact{Address: "sip:a@h"}, 0, 3)
	if body := params[5]; body != "Messages-Waiting: no\r\nMessage-Account: sip:a@x\r\nVoice-Message: 0/3 (0/0)\r\n" {
		t.Errorf("body %q", body)
	}
	for _, aor := range []string{"", "a", "a@b\r\nX: y", "a b@c", strings.Repeat("a", 300) + "@b", "a@b>"} {
		if err := lamp.Set(t.Context(), aor, 1, 1); err == nil || errors.Is(err, ErrNoContact) {
			t.Errorf("address %q was taken: %v", aor, err)
		}
	}
	for _, domain := range []string{"", "a b", "a\r\nX: y"} {
		if _, err := NewLamp(nil, domain); err == nil {
			t.Errorf("domain %q was taken", domain)
		}
	}
}

func unescape(text []byte) []byte {
	return []byte(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(text)))
}

func FuzzReadContacts(f *testing.F) {
	// Proves that no contact, whatever a phone registered, brings a line end, a blank or a quote into a NOTIFY.
	f.Add([]byte(`{"AoR":"a","Contacts":[{"Contact":{"Address":"sip:a@b:5060","Received":"sip:c","Path":"<sip:d>","Socket":"udp:1.2.3.4:5"}}]}`))
	f.Add([]byte(`{"Contacts":[{"Contact":{"Address":"sip:a@b\r\nX: y"}}]}`))
	f.Add([]byte(`{"Contacts":{}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := readContacts(raw)
		if err != nil || len(list) > maxContacts {
			if len(list) > 0 {
				t.Fatalf("%d contacts, %v", len(list), err)
			}
			return
		}
		for _, c := range list {
			for _, word := range (&Lamp{domain: "n"}).notify("a@x", c, 1, 2)[1:4] {
				if strings.ContainsAny(word.(string), " \r\n\"<>") {
					t.Fatalf("%q of %s", word, raw)
				}
			}
		}
	})
}

func FuzzReadDialogs(f *testing.F) {
	// Proves that no answer of dlg.dlg_list makes the reader panic or name a dialog that it did not hold.
	f.Add([]byte(`{"h_entry":1,"h_id":2,"state":4}`))
	f.Add([]byte(`[{"h_entry":1,"h_id":2,"state":4}]`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`"x"`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := readDialogs(raw)
		if err != nil && len(list) > 0 {
			t.Fatalf("%d dialogs and %v", len(list), err)
		}
	})
}
