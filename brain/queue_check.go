package brain

import (
	"fmt"
	"strings"
)

// Bounds of queues.
const (
	maxSkills     = 20
	maxSkillLevel = 5
	maxRelax      = 20
	maxHourSec    = 3600
	maxDaySec     = 86_400
	maxYearSec    = 31_536_000
	maxNoAnswer   = 100
	maxQueued     = 10_000
	maxTier       = 100
	maxPosition   = 100_000
	maxTries      = 10
	maxAssigned   = 20_000 // of an account: who serves what is written down for its queues at each change
	minRingSec    = 3      // a phone that rings for less is seldom heard
)

func (c *checker) queue(r *Queue) {
	c.name("name", r.Name)
	oneOf(c, "strategy", r.Strategy, "longest_idle", "round_robin", "ring_all", "top_down", "fewest_calls", "least_talk_time", "random")
	between(c, "agent_ring_timeout_sec", r.AgentRingTimeoutSec, minRingSec, maxRingTimeoutSec)
	between(c, "max_wait_sec", r.MaxWaitSec, 0, maxDaySec)
	between(c, "wrap_up_sec", r.WrapUpSec, 0, maxHourSec)
	between(c, "max_no_answer", r.MaxNoAnswer, 0, maxNoAnswer)
	betweenOrNone(c, "max_queued", r.MaxQueued, 0, maxQueued)
	between(c, "tier_escalation_sec", r.TierEscalationSec, 0, maxHourSec)
	between(c, "priority_age_sec", r.PriorityAgeSec, 0, maxDaySec)
	between(c, "sticky_sec", r.StickySec, 0, maxYearSec)
	between(c, "service_level_sec", r.ServiceLevelSec, 1, maxHourSec)
	c.relax(r.SkillRelax)
	c.heard(r)
	c.idOrNone("schedule_id", r.ScheduleID)
	c.dest("closed_", r.Closed())
	c.dest("holiday_", r.Holiday())
	c.dest("timeout_", r.Timeout())
	c.dest("no_agents_", r.NoAgents())
	c.dest("queue_full_", r.QueueFull())
	c.dest("ewt_", r.EWT())
}

// heard checks what callers and agents hear.
func (c *checker) heard(r *Queue) {
	between(c, "announce_first_sec", r.AnnounceFirstSec, 1, maxHourSec)
	between(c, "announce_interval_sec", r.AnnounceIntervalSec, 0, maxHourSec)
	betweenOrNone(c, "ewt_threshold_sec", r.EWTThresholdSec, 1, maxDaySec)
	between(c, "ewt_aht_sec", r.EWTAHTSec, 1, maxDaySec)
	if r.Language != "" {
		c.language("language", r.Language)
	}
	oneOf(c, "moh_mode", r.MOHMode, "stream", "file")
	c.idOrNone("moh_media_id", r.MOHMediaID)
	c.idOrNone("moh_playlist_id", r.MOHPlaylistID)
	if r.MOHMediaID != "" && r.MOHPlaylistID != "" {
		c.add("moh_playlist_id", "give either a file or a playlist")
	}
	c.idOrNone("whisper_media_id", r.WhisperMediaID)
}

func (c *checker) relax(steps []SkillRelax) {
	if len(steps) > maxRelax {
		c.add("skill_relax", "at most %d, not %d", maxRelax, len(steps))
	}
	for i, s := range steps[:min(len(steps), maxRelax)] {
		path := fmt.Sprintf("skill_relax[%d].", i)
		between(c, path+"after_sec", s.AfterSec, 1, maxDaySec)
		if s.Skill != "" && !isSkill(s.Skill) {
			c.add(path+"skill", "must be a name of A-Z a-z 0-9 _ . - that begins with a letter or _, not %s", quote(s.Skill))
		}
		between(c, path+"lower_by", s.LowerBy, 0, maxSkillLevel)
		if s.Drop == (s.LowerBy != 0) {
			c.add(path+"lower_by", "give either lower_by or drop")
		}
	}
}

func (c *checker) skills(path string, skills Skills) {
	if len(skills) > maxSkills {
		c.add(path, "at most %d, not %d", maxSkills, len(skills))
		return
	}
	for name, level := range skills { // one mistake a field, so the order of the map does not show
		if !isSkill(name) || level < 1 || level > maxSkillLevel {
			c.add(path, "must be names of A-Z a-z 0-9 _ . - that begin with a letter or _, each with a level from 1 to %d", maxSkillLevel)
			return
		}
	}
}

// isSkill takes the names that flows can ask for.
func isSkill(s string) bool {
	return s != "" && len(s) <= maxNameRunes && (isLetter(s[0]) || s[0] == '_') &&
		only(s, func(b byte) bool { return isAlnum(b) || strings.IndexByte("_.-", b) >= 0 })
}

func (c *checker) assignment(r *AgentQueueAssignment) {
	c.id("queue_id", r.QueueID)
	c.id("user_id", r.UserID)
	between(c, "tier_level", r.TierLevel, 1, maxTier)
	between(c, "position", r.Position, 0, maxPosition)
	oneOf(c, "mode", r.Mode, "static", "mandatory", "self", "supervised")
}

func (c *checker) option(r *InQueueOption) {
	c.id("queue_id", r.QueueID)
	if len(r.Digit) != 1 || strings.Trim(r.Digit, "0123456789*#") != "" {
		c.add("digit", "must be one of 0-9 * #, not %s", quote(r.Digit))
	}
	oneOf(c, "action", r.Action, "route", "webhook", "deflect", "callback", "hangup")
	c.dest("", r.Dest())
	switch routes := r.Action == "route"; {
	case routes && r.DestKind == DestNone:
		c.add("dest_kind", "is required for route")
	case !routes && r.DestKind != DestNone:
		c.add("dest_kind", "is for route only")
	}
	c.optionHook(r)
	between(c, "callback_tries", r.CallbackTries, 1, maxTries)
	between(c, "callback_retry_sec", r.CallbackRetrySec, 10, maxDaySec)
	between(c, "callback_window_sec", r.CallbackWindowSec, 60, maxDaySec)
	if r.CallbackAsk && r.Action != "callback" {
		c.add("callback_ask", "is for callback only")
	}
	c.idOrNone("prompt_media_id", r.PromptMediaID)
	c.text("label", r.Label)
}

func (c *checker) optionHook(r *InQueueOption) {
	hooks := r.Action == "webhook" || r.Action == "deflect"
	switch {
	case hooks && r.WebhookURL == "":
		c.add("webhook_url", "is required for %s", r.Action)
	case !hooks && r.WebhookURL != "":
		c.add("webhook_url", "is for webhook and deflect only")
	default:
		c.https("webhook_url", r.WebhookURL)
	}
	if r.Action != "webhook" && r.StayInQueue {
		c.add("stay_in_queue", "is for webhook only")
	}
}

func betweenOrNone(c *checker, path string, value *int, low, high int) {
	if value != nil {
		between(c, path, *value, low, high)
	}
}

// checkQueues looks at queues, at who serves them and at the keys that callers press in them.
func (v *accountChecker) checkQueues(rows AccountRows, names *nameSet) {
	for i := range rows.Queues {
		q := &rows.Queues[i]
		names.once(q, "name", q.Name)
		v.refer(q, "moh_media_id", KindMediaFile, q.MOHMediaID)
		v.refer(q, "moh_playlist_id", KindMediaPlaylist, q.MOHPlaylistID)
		v.refer(q, "whisper_media_id", KindMediaFile, q.WhisperMediaID)
		v.hours(q, q.ScheduleID, q.Closed(), q.Holiday())
		v.target(q, "timeout_dest_id", q.Timeout())
		v.target(q, "no_agents_dest_id", q.NoAgents())
		v.target(q, "queue_full_dest_id", q.QueueFull())
		v.target(q, "ewt_dest_id", q.EWT())
	}
	agents := make(map[string]bool, len(rows.Users))
	for i := range rows.Users {
		agents[rows.Users[i].ID] = rows.Users[i].IsAgent
	}
	for i := range rows.Assignments {
		a := &rows.Assignments[i]
		if i == maxAssigned {
			v.add(a, "queue_id", "the account has more than %d assignments of agents to queues", maxAssigned)
		}
		v.find(a, "queue_id", KindQueue, a.QueueID)
		agent, exists := agents[a.UserID]
		switch {
		case !exists:
			v.missing(a, "user_id", KindSIPUser, a.UserID)
		case !agent:
			v.add(a, "user_id", "the user is no agent: set is_agent of the user")
		}
		names.once(a, "user_id", a.QueueID+"/"+a.UserID)
	}
	for i := range rows.Options {
		o := &rows.Options[i]
		v.find(o, "queue_id", KindQueue, o.QueueID)
		v.target(o, "dest_id", o.Dest())
		v.refer(o, "prompt_media_id", KindMediaFile, o.PromptMediaID)
		names.once(o, "digit", o.QueueID+"/"+o.Digit)
	}
}
