package config

import (
	"context"
	"database/sql"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/sipio/sipio/brain"
)

// oldFile makes a file as the first sipio had it, with a row of each table that has changed since.
func oldFile(t *testing.T) string {
	t.Helper()
	return fileOf(t, 1,
		`INSERT INTO account VALUES ('acc_1', NULL, 'acme', 'active', 'UTC', 'en-US')`,
		`INSERT INTO sip_domain VALUES ('dom_1', 'acc_1', 'acme.test', 1)`,
		`INSERT INTO sip_user VALUES ('us_1', 'acc_1', '1001', '', 25, 'simultaneous', 'active', 0, '', '', 'extension', 'ext_1', 'ring_group', 'rg_1')`,
		`INSERT INTO sip_device VALUES ('dev_1', 'acc_1', 'us_1', '1001', 'acme.test', '00000000000000000000000000000000', '', 'udp', 0, 0, 1, 'active')`,
		`INSERT INTO ring_group VALUES ('rg_1', 'acc_1', 'sales', 'sequential', 25, 'hangup', '486')`,
		`INSERT INTO ring_group_member VALUES ('acc_1', 'rg_1', 0, 'us_1', 0)`,
		`INSERT INTO extension VALUES ('ext_1', 'acc_1', '600', 'ring_group', 'rg_1', 'active')`,
		`INSERT INTO node VALUES ('node_1', 'edge-1', '', '', '[]', 'active', 100)`,
		`INSERT INTO change_set VALUES (1, 1000, 'apply', 'create 1 account, 1 sip_user, 1 node'), (2, 2000, 'apply', 'update account "acme"')`,
		`INSERT INTO change_row VALUES (2, 0, 'update', 'account', 'acc_1', 'acc_1',
			'{"id":"acc_1","name":"old","status":"active","timezone":"UTC","language":"en-US"}',
			'{"id":"acc_1","name":"acme","status":"active","timezone":"UTC","language":"en-US"}')`)
}

// fileOf makes a file of an older schema.
func fileOf(t *testing.T, schema int64, queries ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.db")
	db, err := sql.Open("sqlite3", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(context.Background(), schema); err != nil {
		t.Fatal(err)
	}
	for _, query := range queries {
		if _, err := db.Exec(query); err != nil {
			t.Fatalf("%v in %s", err, query)
		}
	}
	return path
}

// Proves that a file of the first schema is opened with the defaults of the fields that came since, that
// the new fields and the new table can be written, and that its history, which lacks them, can be gone back to.
func TestOpen_BringsAFileOfTheFirstSchemaUpToDate(t *testing.T) {
	ctx := context.Background()
	s, err := Open(ctx, oldFile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := s.Directory().ByAccount("acc_1")
	if s.Directory().Version() != 2 || c == nil || c.Account.AdmissionPolicy != brain.AdmissionLocalShare || c.Account.MaxIn != 0 || c.UserByName["1001"].MaxSimultaneous != 0 {
		t.Fatalf("version %d, %+v", s.Directory().Version(), c)
	}
	if u := c.UserByName["1001"]; u.FwdBusyDestKind != brain.DestExtension || u.FwdNoanswerDestKind != brain.DestRingGroup || u.RecordPolicy != brain.RecordNone || len(c.RingGroups["rg_1"].Members) != 1 ||
		c.RingGroups["rg_1"].OverflowDestKind != brain.DestHangup || c.Extensions["600"].DestKind != brain.DestRingGroup || c.Account.VoiceGender != "male" || len(c.Devices) != 1 {
		t.Errorf("targets and defaults: %+v, %+v, %+v", u, c.RingGroups["rg_1"], c.Extensions["600"])
	}
	a, u := c.Account, *c.UserByName["1001"]
	a.MaxIn, a.Country, u.MaxSimultaneous = 5, "DE", 2
	mustChange(t, s, brain.OpUpdate, &a, &u)
	mustChange(t, s, brain.OpCreate, &brain.CallLimit{AccountID: "acc_1", Name: "all", ScopeKind: brain.LimitAccount, PeriodSec: 1, MaxCount: 1})
	box := &brain.Voicemail{AccountID: "acc_1", Name: "box"}
	mustChange(t, s, brain.OpCreate, box)
	u.FwdAlwaysDestKind, u.FwdAlwaysDestID = brain.DestVoicemail, box.ID
	mustChange(t, s, brain.OpUpdate, &u)
	if err := s.reload(ctx); err != nil {
		t.Fatal(err)
	}
	c = s.Directory().ByAccount("acc_1")
	if c.UserByName["1001"].FwdAlways() != u.FwdAlways() || c.Voicemails[box.ID].QuotaMB != 200 {
		t.Errorf("the mailbox is %+v", c.Voicemails[box.ID])
	}
	if c.Account.MaxIn != 5 || c.Account.Country != "DE" || c.UserByName["1001"].MaxSimultaneous != 2 || len(c.Limits) != 1 {
		t.Errorf("read back: %+v", c)
	}
	if _, _, err := s.Rollback(ctx, "test", 1, false); err != nil {
		t.Fatal(err)
	}
	if c = s.Directory().ByAccount("acc_1"); c.Account.Name != "old" || c.Account.MaxIn != 0 || c.Account.Country != "" || len(c.Limits) != 0 || len(c.Voicemails) != 0 || c.UserByName["1001"].FwdAlways().IsSet() {
		t.Errorf("after going back to the first revision: %+v, %d limits", c.Account, len(c.Limits))
	}
}

// Proves that a file from before there were queues keeps every target that it has, that nobody in it is an agent, and
// that queues can be led to from all of them.
func TestOpen_BringsAFileWithoutQueuesUpToDate(t *testing.T) {
	ctx := context.Background()
	s, err := Open(ctx, fileOf(t, 3,
		`INSERT INTO account (id, name, status, timezone, language, did_default_dest_kind, did_default_dest_id) VALUES ('acc_1', 'acme', 'active', 'UTC', 'en-US', 'conference', 'conf_1')`,
		`INSERT INTO conference VALUES ('conf_1', 'acc_1', 'room', '', '', 0, 0, 0, 0)`,
		`INSERT INTO sip_user (id, account_id, username, display_name, ring_timeout_sec, ring_strategy, status, dnd, fwd_always_dest_kind, fwd_always_dest_id, fwd_busy_dest_kind, fwd_busy_dest_id,
			fwd_noanswer_dest_kind, fwd_noanswer_dest_id) VALUES ('us_1', 'acc_1', '1001', '', 25, 'simultaneous', 'active', 0, 'conference', 'conf_1', 'hangup', '486', 'user', 'us_1')`,
		`INSERT INTO ring_group (id, account_id, name, strategy, ring_timeout_sec, overflow_dest_kind, overflow_dest_id) VALUES ('rg_1', 'acc_1', 'sales', 'sequential', 25, 'user', 'us_1')`,
		`INSERT INTO extension (id, account_id, digits, dest_kind, dest_id, status, closed_dest_kind, closed_dest_id, holiday_dest_kind, holiday_dest_id) VALUES ('ext_1', 'acc_1', '600', 'ring_group', 'rg_1', 'active', 'user', 'us_1', 'hangup', '')`,
		`INSERT INTO did VALUES ('did_1', 'acc_1', '4930', '', 'active', 'extension', 'ext_1', '{}', 0, 1, '', 'conference', 'conf_1', 'hangup', '603')`,
		`INSERT INTO change_set VALUES (1, 1000, 'apply', 'create')`))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := s.Directory().ByAccount("acc_1")
	u, g, e, d := *c.UserByName["1001"], *c.RingGroups["rg_1"], *c.Extensions["600"], *c.DIDs["did_1"]
	target := func(kind brain.DestKind, id string) brain.RouteTarget { return brain.RouteTarget{Kind: kind, ID: id} }
	room, bob := target("conference", "conf_1"), target("user", "us_1")
	got := []brain.RouteTarget{c.Account.DIDDefault(), u.FwdAlways(), u.FwdBusy(), u.FwdNoanswer(), g.Overflow(), e.Dest(), e.ClosedDest(), e.HolidayDest(), d.Dest(), d.ClosedDest(), d.HolidayDest()}
	want := []brain.RouteTarget{room, room, target("hangup", "486"), bob, bob, target("ring_group", "rg_1"), bob, target("hangup", ""), target("extension", "ext_1"), room, target("hangup", "603")}
	if !slices.Equal(got, want) || u.IsAgent || u.AutoReadyOnLogin || u.AutoQueueLogin || u.Skills != nil || len(c.Queues) != 0 {
		t.Errorf("targets %v, want %v; the user is %+v", got, want, u)
	}
	q := &brain.Queue{AccountID: "acc_1", Name: "support"}
	mustChange(t, s, brain.OpCreate, q)
	a := c.Account
	for _, dest := range []struct {
		kind *brain.DestKind
		id   *string
	}{
		{&a.DIDDefaultDestKind, &a.DIDDefaultDestID}, {&u.FwdAlwaysDestKind, &u.FwdAlwaysDestID}, {&u.FwdBusyDestKind, &u.FwdBusyDestID}, {&u.FwdNoanswerDestKind, &u.FwdNoanswerDestID},
		{&g.OverflowDestKind, &g.OverflowDestID}, {&e.DestKind, &e.DestID}, {&e.ClosedDestKind, &e.ClosedDestID}, {&e.HolidayDestKind, &e.HolidayDestID},
		{&d.DestKind, &d.DestID}, {&d.ClosedDestKind, &d.ClosedDestID}, {&d.HolidayDestKind, &d.HolidayDestID},
	} {
		*dest.kind, *dest.id = brain.DestQueue, q.ID
	}
	mustChange(t, s, brain.OpUpdate, &a, &u, &g, &e, &d)
	if err := s.reload(ctx); err != nil {
		t.Fatal(err)
	}
	if e := s.Directory().ByAccount("acc_1").Extensions["600"]; e.HolidayDest() != target("queue", q.ID) {
		t.Errorf("read back: %+v", e)
	}
}

// Proves that the new columns and the new table hold their bounds by themselves: rows are written past
// the checks and the file refuses them.
func TestSQLite_BoundsAdmissionByItself(t *testing.T) {
	s := acmeStore(t)
	acme := account(t, s, "acme.test").Account
	limit := brain.CallLimit{ID: "lim_x", AccountID: acme.ID, Name: "x", ScopeKind: brain.LimitAccount, Direction: "any", PeriodSec: 1, MaxCount: 1}
	rows := map[string]func(l *brain.CallLimit){
		"scope":         func(l *brain.CallLimit) { l.ScopeKind = "team" },
		"user":          func(l *brain.CallLimit) { l.ScopeKind = brain.LimitUser },
		"pattern":       func(l *brain.CallLimit) { l.ScopeKind = brain.LimitNumber },
		"wrong pattern": func(l *brain.CallLimit) { l.NumberPattern = "1*" },
		"direction":     func(l *brain.CallLimit) { l.Direction = "up" },
		"period":        func(l *brain.CallLimit) { l.PeriodSec = 0 },
		"count":         func(l *brain.CallLimit) { l.MaxCount = 10_001 },
		"name taken":    func(l *brain.CallLimit) { l.Name = "all" },
		"account":       func(l *brain.CallLimit) { l.AccountID = "acc_x" },
	}
	for name, spoil := range rows {
		l := limit
		spoil(&l)
		err := writeRevision(context.Background(), s.db, brain.Revision{Version: 99}, []op{opOf(nil, &l)}, nil)
		if brain.CodeOf(classify(err)) != brain.EConflict {
			t.Errorf("%s: got %v", name, err)
		}
	}
	bad := acme
	bad.MaxIn = -1
	if err := writeRevision(context.Background(), s.db, brain.Revision{Version: 99}, []op{opOf(&acme, &bad)}, nil); brain.CodeOf(classify(err)) != brain.EConflict {
		t.Errorf("max_in: got %v", err)
	}
}

// Proves that the tables of what is answered hold their bounds by themselves: rows are written past the checks
// and the file refuses them.
func TestSQLite_BoundsWhatIsAnsweredByItself(t *testing.T) {
	s := acmeStore(t)
	acme, beta := account(t, s, "acme.test"), account(t, s, "beta.test").Account.ID
	box := only[*brain.Voicemail](t, s, acme.Account.ID, brain.KindVoicemail, "alice")
	message := &brain.VoicemailMessage{ID: "msg_x", AccountID: acme.Account.ID, VoicemailID: box.ID, ObjectKey: "k", SHA256: strings.Repeat("0", 64)}
	for name, c := range map[string]struct {
		row   brain.Resource
		spoil func(r brain.Resource)
	}{
		"number taken":            {&brain.DID{ID: "did_x", AccountID: beta, E164: "4944", Status: "active"}, func(r brain.Resource) { r.(*brain.DID).E164 = "493012345" }},
		"no number":               {&brain.DID{ID: "did_x", AccountID: beta, E164: "4944", Status: "active"}, func(r brain.Resource) { r.(*brain.DID).E164 = "49a4" }},
		"target":                  {&brain.DID{ID: "did_x", AccountID: beta, E164: "4944", Status: "active"}, func(r brain.Resource) { r.(*brain.DID).ClosedDestKind = "moon" }},
		"message of no box":       {message, func(r brain.Resource) { r.(*brain.VoicemailMessage).VoicemailID = "vm_x" }},
		"message of other's box":  {message, func(r brain.Resource) { r.(*brain.VoicemailMessage).AccountID = beta }},
		"message without object":  {message, func(r brain.Resource) { r.(*brain.VoicemailMessage).ObjectKey = "" }},
		"flow name taken":         {&brain.CallFlow{ID: "flow_x", AccountID: beta, Name: "x", Status: "draft"}, func(r brain.Resource) { f := r.(*brain.CallFlow); f.AccountID, f.Name = acme.Account.ID, "main" }},
		"flow status":             {&brain.CallFlow{ID: "flow_x", AccountID: beta, Name: "x", Status: "draft"}, func(r brain.Resource) { r.(*brain.CallFlow).Status = "active" }},
		"trunk of nobody":         {&brain.SIPTrunk{ID: "tr_x", AccountID: beta, Name: "x", Status: "active"}, func(r brain.Resource) { r.(*brain.SIPTrunk).AccountID = "acc_x" }},
		"quota":                   {&brain.Voicemail{ID: "vm_x", AccountID: beta, Name: "x", QuotaMB: 1, MaxMessageSec: 5}, func(r brain.Resource) { r.(*brain.Voicemail).QuotaMB = 0 }},
		"members of a conference": {&brain.Conference{ID: "conf_x", AccountID: beta, Name: "x"}, func(r brain.Resource) { r.(*brain.Conference).MaxMembers = -1 }},
		"kind of a file":          {&brain.MediaFile{ID: "media_x", AccountID: beta, Name: "x", Kind: "moh"}, func(r brain.Resource) { r.(*brain.MediaFile).Kind = "x" }},
		"id of a schedule":        {&brain.TimeSchedule{ID: "sch_x", AccountID: beta, Name: "x"}, func(r brain.Resource) { r.(*brain.TimeSchedule).ID = "x_1" }},
		"id of a playlist":        {&brain.MediaPlaylist{ID: "pl_x", AccountID: beta, Name: "x"}, func(r brain.Resource) { r.(*brain.MediaPlaylist).ID = "x_1" }},
	} {
		bad := brain.Clone(c.row)
		c.spoil(bad)
		err := writeRevision(context.Background(), s.db, brain.Revision{Version: 99}, []op{opOf(nil, bad)}, nil)
		if brain.CodeOf(classify(err)) != brain.EConflict {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
