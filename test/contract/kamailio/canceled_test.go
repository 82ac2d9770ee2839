package kamailio

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// A caller who hangs up in the very moment in which his call becomes a dialog leaves nothing behind: the end of the call is told by its name,
// and no dialog of that name stays, to be taken for a call that goes on. Kamailio is held in each such moment until it has answered the CANCEL.
func TestCall_CanceledWhileItsDialogBegins(t *testing.T) {
	t.Parallel()
	for moment, before := range map[string]string{
		"before it is there":  "    else if (!dlg_manage())",
		"when it is there":    "    else if (t_is_canceled() || $T_reply_code",
		"before it is signed": "    route(SIGN);\n    add_rr_param",
		"before it rings":     "    $avp(q) = $var(q);\n    $avp(rounds)",
	} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			held := 0
			s := startSite(t, edge.Options{Children: 8}, func(path, c string) string {
				if path != "route/call.cfg" || !strings.Contains(c, before) {
					return c
				}
				held++
				hold := `http_connect("door", "/route", "application/x-www-form-urlencoded", "$var(q)", "$var(res)")`
				if condition, ok := strings.CutPrefix(before, "    else if ("); ok {
					return strings.Replace(c, before, "    else if ("+hold+" == 0) $var(code) = 500;\n    else if ("+condition, 1)
				}
				return strings.Replace(c, before, "    "+hold+";\n"+before, 1)
			})
			if held != 1 {
				t.Fatalf("%q is in %d files", before, held)
			}
			b := registered(t, s, "udp", user("b"))
			a := newSet(t, s, "udp", user("a"))
			directive := ring(to(1, b.user))
			directive.Call.Token = a.user
			begun, canceled := make(chan struct{}), make(chan struct{})
			s.door.script(a.user, says(api.RouteReply{RTJSON: directive}), func(http.ResponseWriter, *http.Request) {
				close(begun)
				<-canceled
			})
			call := a.newCall(b.user).dial()
			<-begun
			call.cancel()
			call.refused(487)
			close(canceled)
			failed := s.door.expectEvent(t, "dialog.failed", "token", a.user)
			if failed.Get("sip_code") != "487" || failed.Get("account_id") != "acme" || failed.Get("call_id") != call.callID {
				t.Errorf("told: %v", failed)
			}
			l := lister(t, s)
			eventually(t, "no dialog to be listed", func() error {
				list, err := l.Dialogs(t.Context())
				if err == nil && len(list) > 0 {
					t.Errorf("listed: %v", list)
				}
				return err
			})
		})
	}
}

// A caller who hangs up between two steps hears 487, and so does the brain, whatever the step would have been that was about to ring. Kamailio
// is held there until it knows.
func TestCall_CanceledBetweenTwoSteps(t *testing.T) {
	t.Parallel()
	const before = "        t_drop_replies(\"a\");\n        $avp(step)"
	held := 0
	s := startSite(t, edge.Options{Children: 4}, func(_, c string) string {
		held += strings.Count(c, before)
		return strings.Replace(c, before, `        mq_add("ev", "e", "$_s(type=held&call_id=$ci)");
        $var(waits) = 0;
        while (!t_is_canceled() && $var(waits) < 900) {
            usleep("10000");
            $var(waits) = $var(waits) + 1;
        }
`+before, 1)
	})
	if held != 1 {
		t.Fatalf("%q is there %d times", before, held)
	}
	b, next := registered(t, s, "udp", user("b")), registered(t, s, "udp", user("next"))
	a := newSet(t, s, "udp", user("a"))
	first := to(1, b.user)
	first.Noanswer = 2
	s.door.obey(a.user, ring(first, to(2, next.user)))
	call := a.newCall(b.user).dial()
	b.reject(b.request("INVITE"), 480)
	s.door.expectEvent(t, "held", "call_id", call.callID)
	call.cancel()
	call.refused(487)
	if failed := s.door.expectEvent(t, api.EventDialogFailed, "call_id", call.callID); failed.Get("sip_code") != "487" {
		t.Errorf("told: %v", failed)
	}
	next.quiet()
}
