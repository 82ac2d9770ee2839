package endpoint

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// handovers takes transfers, or refuses them.
type handovers struct {
	asked []api.TransferRequest
	fail  error
}

func (h *handovers) Blind(_ context.Context, accountID string, req *api.TransferRequest) (api.TransferReply, error) {
	if accountID != "acc_1" {
		return api.TransferReply{}, brain.Errorf(brain.EInternal, "account %s", accountID)
	}
	h.asked = append(h.asked, *req)
	return api.TransferReply{Token: "t", FromUserID: req.FromUserID, Target: req.Target, Mode: api.TransferBlind}, h.fail
}

func (h *handovers) Attended(_ context.Context, _ string, req *api.TransferRequest) (api.TransferReply, error) {
	h.asked = append(h.asked, *req)
	return api.TransferReply{Token: "t", FromUserID: req.FromUserID, Target: req.Target, Mode: req.Mode, State: "as asked"}, h.fail
}

func newTransferBench(t *testing.T) (*bench, *handovers) {
	t.Helper()
	b, h := newBench(t), &handovers{}
	b.RegisterTransfers(b.mux, h)
	return b, h
}

// What cannot be understood is refused with its field and asks nothing; what can is asked as it came.
func TestTransfer_QuestionsOfOperators(t *testing.T) {
	const good = `{"token":"t","from_user_id":"us_1001","target":{"kind":"user","id":"us_1002"},"mode":"blind"}`
	mode := func(mode, target string) string {
		return strings.Replace(strings.Replace(good, `"blind"`, `"`+mode+`"`, 1), `"target":{"kind":"user","id":"us_1002"},`, target, 1)
	}
	const whom = `"target":{"kind":"user","id":"us_1002"},`
	for _, row := range []struct {
		token, body string
		code        int
		field       string
	}{
		{tokenWrite, good, 200, ""},
		{tokenWrite, strings.Replace(good, `"token":"t"`, `"call_id":"a/b@c"`, 1), 200, ""},
		{tokenWrite, strings.Replace(good, `"token":"t"`, `"token":"t","call_id":"c"`, 1), 400, "token"},
		{tokenWrite, strings.Replace(good, `"token":"t",`, ``, 1), 400, "token"},
		{tokenWrite, strings.Replace(good, `"t"`, `"../t"`, 1), 400, "token"},
		{tokenWrite, strings.Replace(good, `"us_1001"`, `""`, 1), 400, "from_user_id"},
		{tokenWrite, strings.Replace(good, `"us_1002"`, `""`, 1), 400, "target.id"},
		{tokenWrite, strings.Replace(good, `"us_1002"`, `"\u0007"`, 1), 400, "target.id"},
		{tokenWrite, mode("attended", whom), 200, ""}, {tokenWrite, mode("attended", ``), 400, "target.id"},
		{tokenWrite, mode("complete", ``), 200, ""}, {tokenWrite, mode("complete", whom), 400, "target"},
		{tokenWrite, mode("cancel", `"target":{"kind":"","id":""},`), 200, ""}, {tokenWrite, mode("cancel", `"target":{"kind":"user"},`), 400, "target"},
		{tokenWrite, mode("3way", ``), 200, ""}, {tokenWrite, mode("3way", whom), 400, "target"},
		{tokenWrite, mode("warm", whom), 400, "mode"}, {tokenWrite, mode("warm", ``), 400, "mode"}, {tokenWrite, mode("", whom), 400, "mode"},
		{tokenWrite, strings.Replace(good, `"mode"`, `"moon"`, 1), 400, "moon"},
		{tokenWrite, ``, 400, ""},
		{tokenAccount, good, 403, ""},
		{tokenNode, good, 403, ""},
		{"", good, 401, ""},
	} {
		b, h := newTransferBench(t)
		w := b.ask("POST", api.PathTransfer, typeJSON, row.body, withToken(row.token))
		if w.Code != row.code || (len(h.asked) == 1) != (row.code == 200) || row.field != "" && !strings.Contains(w.Body.String(), row.field) {
			t.Errorf("%s: %d %s, asked %+v", row.body, w.Code, w.Body, h.asked)
		}
		if blind := strings.Contains(row.body, `"blind"`); row.code == 200 && strings.Contains(w.Body.String(), "as asked") == blind {
			t.Errorf("%s: %s", row.body, w.Body)
		}
	}
}

// Each refusal has its status and its field, and a fault of ours is not explained.
func TestTransfer_RefusalsHaveTheirStatus(t *testing.T) {
	const body = `{"token":"t","from_user_id":"us_1001","target":{"kind":"user","id":"us_1002"},"mode":"blind"}`
	field := func(code brain.Code) error {
		return &brain.Error{Code: code, Fields: []brain.FieldError{{Path: "target.id", Text: "is nobody"}}}
	}
	for _, row := range []struct {
		fail error
		code int
		text string
	}{
		{field(brain.EInvalid), 400, `"path":"target.id"`}, {field(brain.ENotFound), 404, `"path":"target.id"`}, {brain.Errorf(brain.EForbidden, "not you"), 403, "not you"},
		{brain.Errorf(brain.EConflict, "transfer by the phone"), 409, "transfer by the phone"}, {brain.Errorf(brain.EUnavailable, "later"), 503, "later"},
		{brain.Errorf(brain.EInternal, "a secret"), 500, "internal error"},
	} {
		for _, body := range []string{body, `{"token":"t","from_user_id":"us_1001","mode":"complete"}`} {
			b, h := newTransferBench(t)
			h.fail = row.fail
			w := b.ask("POST", api.PathTransfer, typeJSON, body, withToken(tokenWrite))
			if w.Code != row.code || !strings.Contains(w.Body.String(), row.text) {
				t.Errorf("%s: %v: %d %s", body, row.fail, w.Code, w.Body)
			}
		}
	}
}

// A phone's transfer, as Kamailio asks about it, is judged by the account that the edge has signed; what is malformed is a
// fault of the asker.
func TestRefer_QuestionsOfNodes(t *testing.T) {
	ask := func(change ...string) url.Values {
		v := url.Values{"call_id": {"c"}, "cseq": {"2"}, "branch": {"b"}, "method": {"REFER"}, "source_ip": {"192.0.2.1"}, "source_port": {"5060"}, "transport": {"udp"}, "node": {"edge1"},
			"from_user": {"1001"}, "from_domain": {"example.com"}, "account_id": {"acc_1"}, "token": {"t"}, "refer_to": {"sip:1002@example.com"}}
		for i := 0; i < len(change); i += 2 {
			v.Set(change[i], change[i+1])
		}
		return v
	}
	for _, row := range []struct {
		form   url.Values
		code   int
		action string
		sip    int
	}{
		{ask(), 200, api.ActionAccept, 0}, {ask("refer_to", "sip:1002@elsewhere.example"), 200, api.ActionReject, 603}, {ask("account_id", "acc_9"), 200, api.ActionReject, 403},
		{ask("refer_to", "sip:1\n@example.com"), 400, "", 0}, {ask("moon", "1"), 400, "", 0},
	} {
		b, _ := newTransferBench(t)
		w := b.form(api.PathRefer, row.form)
		if w.Code != row.code {
			t.Errorf("%v: %d %s", row.form, w.Code, w.Body)
			continue
		}
		if row.code == 200 {
			if r := reading[api.ReferReply](t, w); r.Action != row.action || r.SIPCode != row.sip {
				t.Errorf("%v: %+v", row.form, r)
			}
		}
	}
}
