package session

import (
	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/brain/flow"
)

const (
	stateRoom   = "room"
	stateDenied = "denied"
)

// conference lets the caller into a room, after a PIN when it has one. Outcomes: left, ended, denied. In a room
// with a moderator's PIN only, who presses # instead of it comes in as a member. A flow may let a caller in as
// moderator by role=moderator, without a PIN.
type conference struct {
	ID    string `json:"id"`
	State string `json:"state"`
	PIN   pin    `json:"pin,omitzero"`
}

func (c *conference) begin(t *turn, id string, vars map[string]string) {
	c.ID = id
	room := t.env.Account.Conferences[id]
	switch {
	case room == nil:
		t.note("conference", "there is no conference "+id)
		t.finish(api.OutcomeDenied, flow.End{SIPCode: 404, Cause: "UNALLOCATED_NUMBER", Why: "there is no conference " + id})
	case vars["role"] == "moderator" && t.im.Flow != nil:
		c.join(t, room, true)
	case room.PINHash == "" && room.ModeratorPINHash == "":
		c.join(t, room, false)
	default:
		c.State, c.PIN.Target = statePIN, "conference/"+id
		c.PIN.ask(t, prompt("conf-pin"))
	}
}

func (c *conference) input(t *turn, in flow.Input) {
	switch c.State {
	case statePIN:
		c.opened(t, in)
	case stateRoom:
		t.recorded(in.Data)
		c.out(t, in)
	default:
		t.finish(api.OutcomeDenied, flow.End{Why: "the conference let nobody in"})
	}
}

func (c *conference) opened(t *turn, in flow.Input) {
	room := t.env.Account.Conferences[c.ID]
	if room == nil {
		t.finish(api.OutcomeDenied, flow.End{Why: "the conference was deleted", Cause: causeFailure})
		return
	}
	var hashes []string
	var moderator []bool
	if room.ModeratorPINHash != "" {
		hashes, moderator = append(hashes, room.ModeratorPINHash), append(moderator, true)
	}
	if room.PINHash != "" {
		hashes, moderator = append(hashes, room.PINHash), append(moderator, false)
	}
	switch v, match := c.PIN.given(t, in, hashes, room.PINHash == "", "conf-pin"); v {
	case pinOpen:
		c.join(t, room, match >= 0 && moderator[match])
	case pinDenied:
		t.finish(api.OutcomeDenied, flow.End{Why: "no right PIN was given"})
	}
}

func (c *conference) join(t *turn, room *brain.Conference, moderator bool) {
	c.State = stateRoom
	p := api.CommandParams{Room: room.Room(), Moderator: moderator, MaxMembers: room.MaxMembers,
		WaitModerator: room.WaitForModerator, AnnounceMember: room.AnnounceJoinLeave}
	if room.Record {
		p.Key = t.recordingKey()
	}
	t.command(api.CommandConference, p)
}

func (c *conference) out(t *turn, in flow.Input) {
	switch in.Outcome {
	case api.OutcomeLeft, api.OutcomeEnded:
		t.finish(in.Outcome, flow.End{Why: "the conference is over for the caller: " + in.Outcome})
	case api.OutcomeDenied:
		c.State = stateDenied
		why := "conf-locked"
		if in.Data["reason"] == "full" {
			why = "conf-full"
		}
		t.command(api.CommandPlay, api.CommandParams{}, prompt(why))
	default:
		t.note("conference", "failed: "+clip(in.Data["reason"]))
		t.finish(api.OutcomeDenied, flow.End{Why: "the conference failed", Cause: causeFailure})
	}
}
