package session

import (
	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
)

// codes are what feature codes do to the user who dials them, and what he hears when it is done.
var codes = map[string]struct{ action, prompt string }{
	brain.ActionAgentLogin:     {"login", "agent-logged-in"},
	brain.ActionAgentLogout:    {"logout", "agent-logged-out"},
	brain.ActionAgentAvailable: {"available", "agent-available"},
	brain.ActionAgentBreak:     {"break", "agent-on-break"},
	brain.ActionQueueJoin:      {"queue_join", "agent-queue-joined"},
	brain.ActionQueueLeave:     {"queue_leave", "agent-queue-left"},
}

const promptInvalid = "invalid"

// agentCode is a feature code by which an agent says, at his own phone, what he wants: he hears whether it was done,
// and the call ends.
type agentCode struct {
	Action string `json:"action"`
}

func (c *agentCode) begin(t *turn, queueID string, vars map[string]string) {
	c.Action = vars[brain.VarAction]
	user := t.env.Account.Users[vars["caller_user_id"]]
	if user == nil {
		c.say(t, promptInvalid, "the caller is no user of the account")
		return
	}
	t.im.Agent = &api.AgentRequest{UserID: user.ID, Action: codes[c.Action].action, Reason: clip(vars["reason"]), QueueID: queueID}
}

// answered takes what became of it.
func (c *agentCode) answered(t *turn, outcome, why string) {
	if outcome == api.OutcomeDone {
		c.say(t, codes[c.Action].prompt, c.Action)
		return
	}
	c.say(t, promptInvalid, c.Action+" was refused: "+clip(why))
}

func (c *agentCode) say(t *turn, id, note string) {
	t.note("agent", note)
	t.command(api.CommandPlay, api.CommandParams{}, prompt(id))
}

func (c *agentCode) input(t *turn, _ flow.Input) {
	t.finish(api.OutcomeDone, flow.End{Why: "an agent's code: " + c.Action})
}
