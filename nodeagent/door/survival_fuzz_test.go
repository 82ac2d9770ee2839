package door

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// No form, however odd, makes the door panic or let a caller in who did not give the right digest: the
// corpus begins with a good question, and whatever is accepted names a caller of the bundle.
func FuzzSurvival_Question(f *testing.F) {
	raw, err := json.Marshal(acme("t1"))
	if err != nil {
		f.Fatal(err)
	}
	b, err := newBundle(time.Now().UnixMilli(), []json.RawMessage{raw})
	if err != nil {
		f.Fatal(err)
	}
	good := asking("INVITE", "1001", "secret-1001", "1002", nil)
	f.Add(good)
	f.Add(asking("REGISTER", "1002", "wrong", "", nil))
	f.Add("auth_realm=acme.test&auth_realm=%zz;&=")
	f.Fuzz(func(t *testing.T, body string) {
		q, ok := readQuestion(&question{contentType: "application/x-www-form-urlencoded", body: []byte(body)})
		if !ok {
			return
		}
		reply, _, ok := b.register(q)
		if ok && reply.Action == api.ActionAccept && (reply.AccountID != "acc_1" || reply.AOR != "sip:"+q.Username+"@acme.test") {
			t.Errorf("%q registers %+v", body, reply)
		}
		if d, _, ok := b.route(q); ok && d.RTJSON.Action == api.ActionProxy && (q.Method != "INVITE" && q.Method != "REGISTER" || len(d.RTJSON.Routes) == 0) {
			t.Errorf("%q calls %+v", body, d)
		}
	})
}

// No reply of a brain and no file makes the door panic; what is taken can be indexed and answered from.
func FuzzSurvival_Reply(f *testing.F) {
	raw, err := json.Marshal(api.SurvivalReply{Accounts: []api.SurvivalAccount{acme("t1")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"accounts":[{"tag":"t","account_id":"a","media":{},"numbers":[{"number":"1","routes":[{"step":1,"noanswer":1}]}]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, _ = openBundle("sk_node", raw)
		page, err := readPage(raw)
		if err != nil {
			return
		}
		b, err := newBundle(1, page.Accounts)
		if err != nil {
			return
		}
		for _, a := range b.accounts {
			for _, n := range a.numbers {
				for _, c := range a.callers {
					n.For(c.AOR)
				}
			}
		}
	})
}
