package config

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
)

// Proves that a document of queues leads to ids, inside flows too, that 0 and nothing stay apart where 0 means
// something, and that all of it is read back from the file as it was.
func TestApply_ResolvesTheNamesOfQueues(t *testing.T) {
	s := acmeStore(t)
	check := func(when string) {
		t.Helper()
		c := account(t, s, "acme.test")
		q, overflow := only[*brain.Queue](t, s, c.Account.ID, brain.KindQueue, "first/second level"), only[*brain.Queue](t, s, c.Account.ID, brain.KindQueue, "overflow")
		if q.MaxQueued == nil || *q.MaxQueued != 0 || q.EWTThresholdSec != nil || q.AnnounceIntervalSec != 0 || q.Timeout().ID != overflow.ID || len(q.SkillRelax) != 2 ||
			c.Playlists[q.MOHPlaylistID] == nil || c.MediaFiles[q.WhisperMediaID] == nil || c.Schedules[q.ScheduleID] == nil || c.Voicemails[q.ClosedDestID] == nil {
			t.Errorf("%s: the queue is %+v", when, q)
		}
		if overflow.MaxQueued != nil || overflow.AnnounceIntervalSec != 30 || overflow.Strategy != "longest_idle" || overflow.AgentRingTimeoutSec != 20 {
			t.Errorf("%s: defaults: %+v", when, overflow)
		}
		u := c.UserByName["1002"]
		if list := c.QueueAgents[q.ID]; len(list) != 1 || list[0].UserID != u.ID || list[0].TierLevel != 2 || list[0].Position != 7 || list[0].Mode != "mandatory" {
			t.Errorf("%s: served by %+v", when, list)
		}
		if !u.IsAgent || !u.AutoQueueLogin || u.AutoReadyOnLogin || u.Skills["french"] != 3 || u.Skills["billing.v2"] != 5 {
			t.Errorf("%s: the agent is %+v", when, u)
		}
		if o := c.QueueOptions[q.ID]["*"]; o == nil || o.Dest().ID != overflow.ID || o.Label != "next level" {
			t.Errorf("%s: the key is %+v", when, o)
		}
		if f := only[*brain.CallFlow](t, s, c.Account.ID, brain.KindCallFlow, "main"); !strings.Contains(string(f.LiveGraph.Nodes[5].Data), `"queueId":"`+q.ID+`"`) {
			t.Errorf("%s: the flow is %s", when, f.LiveGraph.Nodes[5].Data)
		}
		if e := c.Extensions["*45"]; e.DestKind != brain.DestQueue || e.DestID != "" || c.Extensions["603"].DestID != q.ID {
			t.Errorf("%s: the extensions are %+v and %+v", when, e, c.Extensions["603"])
		}
	}
	check("applied")
	if err := s.reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	check("read back")
}

// Proves that mistakes in the names of what belongs to a queue, and of who serves it, are told by their line, that a
// reference may stand beside the name as long as it says the same, and that no name is a secret in a plan.
func TestApply_NamesWhatBelongsToAQueue(t *testing.T) {
	s := acmeStore(t)
	for doc, part := range map[string]string{
		`{kind: agent_queue_assignment, account: acme, name: overflow}`:                                       `line 1: agent_queue_assignment "overflow": name: must be queue/username, not "overflow"`,
		`{kind: in_queue_option, account: acme, name: "1", spec: {action: hangup}}`:                           `line 1: in_queue_option "1": name: must be queue/digit, not "1"`,
		`{kind: agent_queue_assignment, account: acme, name: moon/1002}`:                                      `line 1: agent_queue_assignment "moon/1002": name: no queue "moon" in account "acme"`,
		`{kind: agent_queue_assignment, account: acme, name: overflow/1009}`:                                  `line 1: agent_queue_assignment "overflow/1009": name: no sip_user "1009" in account "acme"`,
		`{kind: agent_queue_assignment, account: acme, name: overflow/1001}`:                                  `line 1: agent_queue_assignment "overflow/1001": name: the user is no agent`,
		`{kind: in_queue_option, account: acme, name: overflow/12, spec: {action: hangup}}`:                   `line 1: in_queue_option "overflow/12": name: must be one of 0-9 * #`,
		`{kind: agent_queue_assignment, account: acme, name: overflow/1002, spec: {user_id: "1001"}}`:         `line 1: agent_queue_assignment "overflow/1002": spec.user_id: is given by the document's name`,
		`{kind: in_queue_option, account: acme, name: overflow/2, spec: {digit: "2", action: hangup}}`:        `line 1: in_queue_option "overflow/2": spec.digit: is given by the document's name`,
		`{kind: queue, account: acme, name: overflow, spec: {max_queued: some}}`:                              `line 1: queue "overflow": spec.max_queued: must be a whole number, not "some"`,
		`{kind: sip_user, account: acme, name: "1002", spec: {is_agent: true, skills: {french: high}}}`:       `line 1: sip_user "1002": spec.skills.french: must be a whole number, not "high"`,
		`{kind: sip_user, account: acme, name: "1002", spec: {is_agent: true, skills: {french: 6}}}`:          `line 1: sip_user "1002": spec.skills: must be names of`,
		`{kind: sip_user, account: acme, name: "1002"}`:                                                       `agent_queue_assignment "overflow/1002": user_id: the user is no agent: set is_agent of the user (not in the document)`,
		`{kind: extension, account: acme, name: "9", spec: {dest_kind: queue, dest_xform: {action: agents}}}`: `line 1: extension "9": spec.dest_xform: action must be agent_login`,
	} {
		_, _, err := s.Apply(context.Background(), "test", []byte(doc), brain.ApplyOptions{})
		wantCode(t, err, brain.EInvalid, part)
	}
	same := mustApply(t, s, []byte(`{kind: agent_queue_assignment, account: acme, name: overflow/1002, spec: {queue_id: overflow, user_id: 1002}}`), brain.ApplyOptions{})
	if len(same.Items) != 0 {
		t.Errorf("the same again: %s", same)
	}
	plan := mustApply(t, s, []byte(`{kind: agent_queue_assignment, account: acme, name: overflow/1002, spec: {tier_level: 4}}`), brain.ApplyOptions{}).String()
	if plan != "~ agent_queue_assignment acme/overflow/1002\n    tier_level: 1 → 4\n0 to create, 1 to update, 0 to delete\n" {
		t.Errorf("planned as %s", plan)
	}
	revisions, err := s.Revisions(context.Background(), 1)
	if err != nil || len(revisions) != 1 || revisions[0].Summary != `apply: update agent_queue_assignment "overflow/1002"` {
		t.Errorf("written as %+v, %v", revisions, err)
	}
}

// Proves that a queue stays that something refers to, that it goes with all that is its own in one change or by prune,
// and that a rollback brings all of it back.
func TestChange_KeepsQueuesThatAreUsed(t *testing.T) {
	ctx, s := context.Background(), acmeStore(t)
	id := account(t, s, "acme.test").Account.ID
	q, overflow := only[*brain.Queue](t, s, id, brain.KindQueue, "first/second level"), only[*brain.Queue](t, s, id, brain.KindQueue, "overflow")
	for _, part := range []string{`queue "first/second level" is still named by extension "603" (dest_id); by agent_queue_assignment "first/second level/1002" (queue_id);`,
		`; by in_queue_option "first/second level/*" (queue_id)`, `; by call_flow "main" (graph.nodes[5].data.queueId)`} {
		_, err := change(s, brain.OpDelete, q)
		wantCode(t, err, brain.EConflict, part)
	}
	_, err := change(s, brain.OpDelete, overflow)
	wantCode(t, err, brain.EConflict, `queue "overflow" is still named by queue "first/second level" (timeout_dest_id)`)
	agent := account(t, s, "acme.test").UserByName["1002"]
	_, err = change(s, brain.OpDelete, agent)
	wantCode(t, err, brain.EConflict, `; by agent_queue_assignment "overflow/1002" (user_id)`)
	bad := *agent
	bad.IsAgent = false
	_, err = change(s, brain.OpUpdate, &bad)
	wantCode(t, err, brain.EConflict, `agent_queue_assignment "overflow/1002": user_id: the user is no agent`)
	_, err = change(s, brain.OpCreate, &brain.AgentQueueAssignment{AccountID: id, QueueID: overflow.ID, UserID: agent.ID})
	wantCode(t, err, brain.EConflict, "is taken already")

	before, err := s.Export(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	rev := s.Directory().Version()
	lean := strings.Replace(string(readFile(t, "acme.yaml")), "queueId: first/second level", "queueId: overflow", 1)
	var kept []string
	for line := range strings.Lines(lean) {
		if !strings.Contains(line, "name: first/second level/") && !strings.Contains(line, "dest_id: first/second level") {
			kept = append(kept, line)
		}
	}
	lean = strings.Replace(strings.Join(kept, ""), "name: first/second level", "name: second level", 1)
	plan := mustApply(t, s, []byte(lean), brain.ApplyOptions{Prune: true}).String()
	for _, part := range []string{"- queue acme/first/second level\n", "- in_queue_option acme/first/second level/*\n", "- agent_queue_assignment acme/first/second level/1002\n", "+ queue acme/second level\n"} {
		if !strings.Contains(plan, part) {
			t.Errorf("the plan lacks %q:\n%s", part, plan)
		}
	}
	if _, _, err := s.Rollback(ctx, "test", rev, false); err != nil {
		t.Fatal(err)
	}
	if after, err := s.Export(ctx, ""); err != nil || !bytes.Equal(before, after) {
		t.Errorf("after the rollback: %v\n%s", err, after)
	}
}

// Proves that the tables of queues hold their bounds by themselves: rows are written past the checks and the file
// refuses them.
func TestSQLite_BoundsQueuesByItself(t *testing.T) {
	s := acmeStore(t)
	acme, beta := account(t, s, "acme.test"), account(t, s, "beta.test").Account.ID
	id, agent := acme.Account.ID, acme.UserByName["1002"].ID
	overflow := only[*brain.Queue](t, s, id, brain.KindQueue, "overflow")
	fresh := brain.Clone(overflow).(*brain.Queue)
	fresh.ID, fresh.Name = "q_x", "x"
	serves := &brain.AgentQueueAssignment{ID: "aq_x", AccountID: id, QueueID: overflow.ID, UserID: acme.UserByName["1001"].ID, TierLevel: 1, Mode: "self"}
	key := &brain.InQueueOption{ID: "opt_x", AccountID: id, QueueID: overflow.ID, Digit: "#", Action: "hangup", CallbackTries: 3, CallbackRetrySec: 300, CallbackWindowSec: 3600}
	undo := errors.New("taken, and undone")
	for _, row := range []brain.Resource{fresh, serves, key} {
		err := writeRevision(context.Background(), s.db, brain.Revision{Version: 98}, []op{opOf(nil, row)}, func() error { return undo })
		if !errors.Is(err, undo) {
			t.Errorf("a good %s: %v", row.ResourceKind(), err)
		}
	}
	for name, c := range map[string]struct {
		row   brain.Resource
		spoil func(r brain.Resource)
	}{
		"name taken":     {fresh, func(r brain.Resource) { r.(*brain.Queue).Name = "overflow" }},
		"strategy":       {fresh, func(r brain.Resource) { r.(*brain.Queue).Strategy = "loudest" }},
		"most queued":    {fresh, func(r brain.Resource) { n := -1; r.(*brain.Queue).MaxQueued = &n }},
		"threshold":      {fresh, func(r brain.Resource) { r.(*brain.Queue).EWTThresholdSec = new(int) }},
		"target":         {fresh, func(r brain.Resource) { r.(*brain.Queue).EWTDestKind = "agent" }},
		"twice":          {serves, func(r brain.Resource) { r.(*brain.AgentQueueAssignment).UserID = agent }},
		"tier":           {serves, func(r brain.Resource) { r.(*brain.AgentQueueAssignment).TierLevel = 0 }},
		"nobody":         {serves, func(r brain.Resource) { r.(*brain.AgentQueueAssignment).UserID = "us_x" }},
		"other's queue":  {serves, func(r brain.Resource) { r.(*brain.AgentQueueAssignment).AccountID = beta }},
		"key twice":      {key, func(r brain.Resource) { r.(*brain.InQueueOption).Digit = "1" }},
		"no key":         {key, func(r brain.Resource) { r.(*brain.InQueueOption).Digit = "A" }},
		"leads nowhere":  {key, func(r brain.Resource) { r.(*brain.InQueueOption).Action = "route" }},
		"tells nobody":   {key, func(r brain.Resource) { r.(*brain.InQueueOption).Action = "webhook" }},
		"serves nobody":  {key, func(r brain.Resource) { r.(*brain.InQueueOption).Action = "deflect" }},
		"never calls":    {key, func(r brain.Resource) { r.(*brain.InQueueOption).CallbackTries = 0 }},
		"of no queue":    {key, func(r brain.Resource) { r.(*brain.InQueueOption).QueueID = "q_x" }},
		"of other's":     {key, func(r brain.Resource) { r.(*brain.InQueueOption).AccountID = beta }},
		"id of a key":    {key, func(r brain.Resource) { r.(*brain.InQueueOption).ID = "x_1" }},
		"id of a queue":  {fresh, func(r brain.Resource) { r.(*brain.Queue).ID = "x_1" }},
		"id of a server": {serves, func(r brain.Resource) { r.(*brain.AgentQueueAssignment).ID = "x_1" }},
	} {
		bad := brain.Clone(c.row)
		c.spoil(bad)
		err := writeRevision(context.Background(), s.db, brain.Revision{Version: 99}, []op{opOf(nil, bad)}, nil)
		if brain.CodeOf(classify(err)) != brain.EConflict {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
