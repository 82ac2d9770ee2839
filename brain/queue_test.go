package brain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func number(n int) *int { return &n }

// Proves that each bad field of a queue, of who serves it and of its keys is told with its path, and no other field
// is. Each row breaks one valid resource.
func TestValidate_TellsWhatIsWrongWithQueues(t *testing.T) {
	queue := func(set func(q *Queue)) func(r Resource) { return func(r Resource) { set(r.(*Queue)) } }
	serves := func(set func(a *AgentQueueAssignment)) func(r Resource) {
		return func(r Resource) { set(r.(*AgentQueueAssignment)) }
	}
	option := func(set func(o *InQueueOption)) func(r Resource) { return func(r Resource) { set(r.(*InQueueOption)) } }
	routes := func(o *InQueueOption) { o.Action, o.WebhookURL, o.StayInQueue = "route", "", false }
	for _, c := range []struct {
		path string
		kind Kind
		set  func(r Resource)
	}{
		{"name", KindQueue, queue(func(q *Queue) { q.Name = "" })},
		{"strategy", KindQueue, queue(func(q *Queue) { q.Strategy = "loudest" })},
		{"agent_ring_timeout_sec", KindQueue, queue(func(q *Queue) { q.AgentRingTimeoutSec = 2 })},
		{"max_wait_sec", KindQueue, queue(func(q *Queue) { q.MaxWaitSec = 86_401 })},
		{"wrap_up_sec", KindQueue, queue(func(q *Queue) { q.WrapUpSec = -1 })},
		{"max_no_answer", KindQueue, queue(func(q *Queue) { q.MaxNoAnswer = 101 })},
		{"max_queued", KindQueue, queue(func(q *Queue) { q.MaxQueued = number(10_001) })},
		{"tier_escalation_sec", KindQueue, queue(func(q *Queue) { q.TierEscalationSec = 3601 })},
		{"priority_age_sec", KindQueue, queue(func(q *Queue) { q.PriorityAgeSec = -1 })},
		{"sticky_sec", KindQueue, queue(func(q *Queue) { q.StickySec++ })},
		{"service_level_sec", KindQueue, queue(func(q *Queue) { q.ServiceLevelSec = 3601 })},
		{"skill_relax", KindQueue, queue(func(q *Queue) { q.SkillRelax = slices.Repeat(q.SkillRelax[:1], 21) })},
		{"skill_relax[0].after_sec", KindQueue, queue(func(q *Queue) { q.SkillRelax[0].AfterSec = 0 })},
		{"skill_relax[0].lower_by", KindQueue, queue(func(q *Queue) { q.SkillRelax[0].LowerBy = 6 })},
		{"skill_relax[0].lower_by", KindQueue, queue(func(q *Queue) { q.SkillRelax[0].LowerBy = 0 })},
		{"skill_relax[1].lower_by", KindQueue, queue(func(q *Queue) { q.SkillRelax[1].LowerBy = 1 })},
		{"skill_relax[1].skill", KindQueue, queue(func(q *Queue) { q.SkillRelax[1].Skill = "1a" })},
		{"announce_first_sec", KindQueue, queue(func(q *Queue) { q.AnnounceFirstSec = -1 })},
		{"announce_interval_sec", KindQueue, queue(func(q *Queue) { q.AnnounceIntervalSec = 3601 })},
		{"ewt_threshold_sec", KindQueue, queue(func(q *Queue) { q.EWTThresholdSec = new(int) })},
		{"ewt_aht_sec", KindQueue, queue(func(q *Queue) { q.EWTAHTSec = 86_401 })},
		{"language", KindQueue, queue(func(q *Queue) { q.Language = "de_DE" })},
		{"moh_mode", KindQueue, queue(func(q *Queue) { q.MOHMode = "radio" })},
		{"moh_playlist_id", KindQueue, queue(func(q *Queue) { q.MOHPlaylistID = "pl_1" })},
		{"schedule_id", KindQueue, queue(func(q *Queue) { q.ScheduleID = strings.Repeat("x", 65) })},
		{"closed_dest_id", KindQueue, queue(func(q *Queue) { q.ClosedDestID = "" })},
		{"holiday_dest_kind", KindQueue, queue(func(q *Queue) { q.HolidayDestKind = "agent" })},
		{"timeout_dest_id", KindQueue, queue(func(q *Queue) { q.TimeoutDestID = "" })},
		{"no_agents_dest_id", KindQueue, queue(func(q *Queue) { q.NoAgentsDestKind = DestFlow })},
		{"queue_full_dest_id", KindQueue, queue(func(q *Queue) { q.QueueFullDestID = "486" })},
		{"ewt_dest_id", KindQueue, queue(func(q *Queue) { q.EWTDestID = "99" })},
		{"queue_id", KindAgentQueueAssignment, serves(func(a *AgentQueueAssignment) { a.QueueID = "" })},
		{"user_id", KindAgentQueueAssignment, serves(func(a *AgentQueueAssignment) { a.UserID = "" })},
		{"tier_level", KindAgentQueueAssignment, serves(func(a *AgentQueueAssignment) { a.TierLevel = 101 })},
		{"position", KindAgentQueueAssignment, serves(func(a *AgentQueueAssignment) { a.Position = -1 })},
		{"mode", KindAgentQueueAssignment, serves(func(a *AgentQueueAssignment) { a.Mode = "dynamic" })},
		{"queue_id", KindInQueueOption, option(func(o *InQueueOption) { o.QueueID = "" })},
		{"digit", KindInQueueOption, option(func(o *InQueueOption) { o.Digit = "12" })},
		{"digit", KindInQueueOption, option(func(o *InQueueOption) { o.Digit = "A" })},
		{"dest_kind", KindInQueueOption, option(func(o *InQueueOption) { o.DestKind = DestHangup })},
		{"dest_kind", KindInQueueOption, option(func(o *InQueueOption) { routes(o) })},
		{"dest_id", KindInQueueOption, option(func(o *InQueueOption) { routes(o); o.DestKind = DestQueue })},
		{"webhook_url", KindInQueueOption, option(func(o *InQueueOption) { o.WebhookURL = "" })},
		{"webhook_url", KindInQueueOption, option(func(o *InQueueOption) { o.WebhookURL = "http://acme.test/" })},
		{"webhook_url", KindInQueueOption, option(func(o *InQueueOption) { routes(o); o.DestKind, o.WebhookURL = DestHangup, "https://acme.test/" })},
		{"stay_in_queue", KindInQueueOption, option(func(o *InQueueOption) { routes(o); o.DestKind, o.StayInQueue = DestHangup, true })},
		{"stay_in_queue", KindInQueueOption, option(func(o *InQueueOption) { o.Action, o.StayInQueue = "deflect", true })},
		{"webhook_url", KindInQueueOption, option(func(o *InQueueOption) { o.Action, o.StayInQueue, o.WebhookURL = "deflect", false, "" })},
		{"webhook_url", KindInQueueOption, option(func(o *InQueueOption) { o.Action, o.StayInQueue = "callback", false })},
		{"callback_ask", KindInQueueOption, option(func(o *InQueueOption) { o.CallbackAsk = true })},
		{"callback_tries", KindInQueueOption, option(func(o *InQueueOption) { o.CallbackTries = 11 })},
		{"callback_retry_sec", KindInQueueOption, option(func(o *InQueueOption) { o.CallbackRetrySec = 9 })},
		{"callback_window_sec", KindInQueueOption, option(func(o *InQueueOption) { o.CallbackWindowSec = 59 })},
		{"label", KindInQueueOption, option(func(o *InQueueOption) { o.Label = strings.Repeat("x", 65) })},
		{"skills", KindSIPUser, func(r Resource) { r.(*SIPUser).Skills["french"] = 6 }},
		{"skills", KindSIPUser, func(r Resource) { r.(*SIPUser).Skills["a b"] = 1 }},
		{"skills", KindSIPUser, func(r Resource) {
			for i := range 21 {
				r.(*SIPUser).Skills[fmt.Sprint("s", i)] = 1
			}
		}},
	} {
		r := valid()[c.kind]
		c.set(r)
		if got := paths(Validate(r)); len(got) != 1 || got[0] != c.path {
			t.Errorf("%s, want %s: got %v", c.kind, c.path, Validate(r))
		}
	}
	bad := valid()[KindInQueueOption].(*InQueueOption)
	if bad.Action = "cancel"; !slices.Contains(paths(Validate(bad)), "action") {
		t.Errorf("action cancel: %v", Validate(bad))
	}
}

// Proves that a target queue does without a queue for what an agent does to himself only, and that it takes no action
// that it does not know.
func TestValidate_AgentActionsNeedNoQueue(t *testing.T) {
	for _, c := range []struct{ action, id, want string }{
		{"agent_login", "", ""}, {"agent_logout", "", ""}, {"agent_available", "", ""}, {"agent_break", "", ""},
		{"queue_join", "q_1", ""}, {"queue_leave", "q_1", ""}, {"", "q_1", ""},
		{"queue_join", "", "dest_id"}, {"queue_leave", "", "dest_id"}, {"", "", "dest_id"}, {"agent_logn", "", "dest_xform"}, {"retrieve", "q_1", "dest_xform"},
	} {
		e := &Extension{Digits: "*45", DestKind: DestQueue, DestID: c.id, DestXform: Vars{}}
		if c.action != "" {
			e.DestXform[VarAction] = c.action
		}
		ApplyDefaults(e)
		if got := strings.Join(paths(Validate(e)), " "); got != c.want {
			t.Errorf("%q with queue %q: %q, want %q", c.action, c.id, got, c.want)
		}
	}
}

// queueAccount is validAccount with a queue that user us_1 serves, and a key of it.
func queueAccount() AccountRows {
	a := validAccount()
	a.Users[0].IsAgent = true
	a.Queues = []Queue{{ID: "q_1", Name: "support", MOHPlaylistID: "pl_1", WhisperMediaID: "media_1", ScheduleID: "sch_1", TimeoutDestKind: DestQueue, TimeoutDestID: "q_1"}}
	a.Assignments = []AgentQueueAssignment{{ID: "aq_1", QueueID: "q_1", UserID: "us_1"}}
	a.Options = []InQueueOption{{ID: "opt_1", QueueID: "q_1", Digit: "1", Action: "route", DestKind: DestVoicemail, DestID: "vm_1", PromptMediaID: "media_1"}}
	a.Extensions[0].DestKind, a.Extensions[0].DestID = DestQueue, "q_1"
	return a
}

// Proves that every reference of queues to what is not in the account, a server who is no agent, and every name used
// twice is told of the row at fault. Each row breaks one valid account.
func TestValidateAccount_TellsTheReferencesOfQueues(t *testing.T) {
	rows := queueAccount()
	if errs := ValidateAccount(rows); errs != nil {
		t.Fatalf("a valid account: %+v", errs)
	}
	for _, c := range []struct {
		id, path string
		taken    bool
		set      func(a *AccountRows)
	}{
		{"ext_1", "dest_id", false, func(a *AccountRows) { a.Extensions[0].DestID = "q_9" }},
		{"q_1", "moh_media_id", false, func(a *AccountRows) { a.Queues[0].MOHMediaID = "pl_1" }},
		{"q_1", "moh_playlist_id", false, func(a *AccountRows) { a.Queues[0].MOHPlaylistID = "media_1" }},
		{"q_1", "whisper_media_id", false, func(a *AccountRows) { a.Queues[0].WhisperMediaID = "media_9" }},
		{"q_1", "schedule_id", false, func(a *AccountRows) { a.Queues[0].ScheduleID = "sch_9" }},
		{"q_1", "closed_dest_id", false, func(a *AccountRows) { a.Queues[0].ClosedDestKind = DestFlow }},
		{"q_1", "holiday_dest_id", false, func(a *AccountRows) { a.Queues[0].HolidayDestKind = DestUser }},
		{"q_1", "timeout_dest_id", false, func(a *AccountRows) { a.Queues[0].TimeoutDestID = "q_9" }},
		{"q_1", "no_agents_dest_id", false, func(a *AccountRows) { a.Queues[0].NoAgentsDestKind = DestConference }},
		{"q_1", "queue_full_dest_id", false, func(a *AccountRows) { a.Queues[0].QueueFullDestKind = DestRingGroup }},
		{"q_1", "ewt_dest_id", false, func(a *AccountRows) { a.Queues[0].EWTDestKind, a.Queues[0].EWTDestID = DestVoicemail, "q_1" }},
		{"q_2", "name", true, func(a *AccountRows) { a.Queues = append(a.Queues, Queue{ID: "q_2", Name: "support"}) }},
		{"aq_1", "queue_id", false, func(a *AccountRows) { a.Assignments[0].QueueID = "q_9" }},
		{"aq_1", "user_id", false, func(a *AccountRows) { a.Assignments[0].UserID = "us_9" }},
		{"aq_1", "user_id", false, func(a *AccountRows) { a.Users[0].IsAgent = false }},
		{"aq_2", "user_id", true, func(a *AccountRows) {
			a.Assignments = append(a.Assignments, AgentQueueAssignment{ID: "aq_2", QueueID: "q_1", UserID: "us_1"})
		}},
		{"opt_1", "queue_id", false, func(a *AccountRows) { a.Options[0].QueueID = "rg_1" }},
		{"opt_1", "dest_id", false, func(a *AccountRows) { a.Options[0].DestID = "vm_9" }},
		{"opt_1", "prompt_media_id", false, func(a *AccountRows) { a.Options[0].PromptMediaID = "media_9" }},
		{"opt_2", "digit", true, func(a *AccountRows) {
			a.Options = append(a.Options, InQueueOption{ID: "opt_2", QueueID: "q_1", Digit: "1"})
		}},
	} {
		rows := queueAccount()
		c.set(&rows)
		errs := ValidateAccount(rows)
		if len(errs) != 1 || errs[0].Resource.ResourceID() != c.id || errs[0].Path != c.path || errs[0].Taken != c.taken {
			t.Errorf("want %s %s, got %+v", c.id, c.path, errs)
		}
	}
}

// Proves that an account may have so many assignments and no more: the first one too many is told of, and it alone.
func TestValidateAccount_BoundsTheAssignments(t *testing.T) {
	rows := queueAccount()
	for i := len(rows.Assignments); i < maxAssigned; i++ {
		id := fmt.Sprint(i)
		rows.Queues = append(rows.Queues, Queue{ID: "q_" + id + "x", Name: "queue " + id})
		rows.Assignments = append(rows.Assignments, AgentQueueAssignment{ID: "aq_" + id + "x", QueueID: "q_" + id + "x", UserID: "us_1"})
	}
	if errs := ValidateAccount(rows); errs != nil {
		t.Fatalf("%d assignments: %+v", len(rows.Assignments), errs[0])
	}
	for _, id := range []string{"one too many", "two too many"} {
		rows.Queues = append(rows.Queues, Queue{ID: id, Name: id})
		rows.Assignments = append(rows.Assignments, AgentQueueAssignment{ID: id, QueueID: id, UserID: "us_1"})
	}
	errs := ValidateAccount(rows)
	if len(errs) != 1 || errs[0].Resource.ResourceID() != "one too many" || errs[0].Path != "queue_id" || !strings.Contains(errs[0].Text, "20000") {
		t.Errorf("%+v", errs)
	}
}

// Proves that agents stand by tier, then position, then id, and keys by digit, each under their queue.
func TestNewAccountConfig_IndexesQueues(t *testing.T) {
	rows := AccountRows{Queues: []Queue{{ID: "q_1"}, {ID: "q_2"}},
		Assignments: []AgentQueueAssignment{{QueueID: "q_1", UserID: "us_4", TierLevel: 2}, {QueueID: "q_1", UserID: "us_3", TierLevel: 1, Position: 1},
			{QueueID: "q_1", UserID: "us_2", TierLevel: 1, Position: 1}, {QueueID: "q_1", UserID: "us_5", TierLevel: 1}, {QueueID: "q_2", UserID: "us_1", TierLevel: 1}},
		Options: []InQueueOption{{ID: "opt_1", QueueID: "q_1", Digit: "*"}, {ID: "opt_2", QueueID: "q_1", Digit: "1"}}}
	c := NewAccountConfig(1, rows)
	var order []string
	for _, a := range c.QueueAgents["q_1"] {
		order = append(order, a.UserID)
	}
	if !slices.Equal(order, []string{"us_5", "us_2", "us_3", "us_4"}) || len(c.QueueAgents["q_2"]) != 1 {
		t.Errorf("agents in the order %v", order)
	}
	if c.Queues["q_2"] != &rows.Queues[1] || c.QueueOptions["q_1"]["*"].ID != "opt_1" || len(c.QueueOptions["q_1"]) != 2 || c.QueueOptions["q_2"]["*"] != nil {
		t.Errorf("indexed as %+v and %+v", c.Queues, c.QueueOptions)
	}
}

// Proves that a copy of a queue or an agent shares nothing with its original, and that what says nothing has one
// spelling.
func TestClone_SharesNothingOfQueues(t *testing.T) {
	q := &Queue{MaxQueued: number(1), EWTThresholdSec: number(2), SkillRelax: []SkillRelax{{AfterSec: 3}}}
	u := &SIPUser{Skills: Skills{"a": 1}}
	c := Clone(q).(*Queue)
	*c.MaxQueued, *c.EWTThresholdSec, c.SkillRelax[0].AfterSec = 9, 9, 9
	Clone(u).(*SIPUser).Skills["a"] = 9
	if *q.MaxQueued != 1 || *q.EWTThresholdSec != 2 || q.SkillRelax[0].AfterSec != 3 || u.Skills["a"] != 1 {
		t.Errorf("a change of the copy changed %+v, %+v", q, u)
	}
	q, u = &Queue{SkillRelax: []SkillRelax{}}, &SIPUser{Skills: Skills{}}
	ApplyDefaults(q)
	ApplyDefaults(u)
	if q.SkillRelax != nil || u.Skills != nil || q.AnnounceIntervalSec != 0 || q.AnnounceFirstSec != 15 || NewResource(KindQueue).(*Queue).AnnounceIntervalSec != 30 {
		t.Errorf("defaults: %+v, %+v", q, u)
	}
}
