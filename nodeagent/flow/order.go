package flow

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Refusals of an op. Their text is for operators.
var (
	errNoCall     = errors.New("no such call on this node")
	errNoAction   = errors.New("no such action")
	errNoMember   = errors.New("no such member")
	errMemberName = errors.New("a member is named by its number")
)

// Recording starts, stops, pauses or resumes the recording of a live call. What is recorded while it is paused is
// silence. A recording that is stopped is stored when the call's present command ends.
func (c *Calls) Recording(ctx context.Context, op api.Op) (api.OpReply, error) {
	k := c.find(op.Token)
	if k == nil {
		return api.OpReply{}, errNoCall
	}
	switch op.Action {
	case "start":
		if op.Key == "" {
			return api.OpReply{}, errors.New("a recording needs a key")
		}
		_ = k.takeBack(ctx, "for", "a recording") // it says why not; nothing is written of what goes past the media server
		return api.OpReply{}, k.recordNow(ctx, op.Key, c.order)
	case "stop":
		return api.OpReply{}, k.stopNow(ctx, c.order)
	case "pause":
		return api.OpReply{}, k.mask(ctx, true, c.order)
	case "resume":
		return api.OpReply{}, k.mask(ctx, false, c.order)
	}
	return api.OpReply{}, errNoAction
}

// Hangup ends a live call; its flow hears of it as of any hang-up.
func (c *Calls) Hangup(ctx context.Context, op api.Op) (api.OpReply, error) {
	k := c.find(op.Token)
	if k == nil {
		return api.OpReply{}, errNoCall
	}
	_, err := c.order(ctx, "uuid_kill "+k.uuid+" NORMAL_CLEARING")
	return api.OpReply{}, err
}

// find returns the live call of a token.
func (c *Calls) find(token string) *call {
	if token == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.live {
		if k.token == token {
			return k
		}
	}
	return nil
}

// Conference lists a conference's members, or mutes, unmutes, kicks or locks.
func (c *Calls) Conference(ctx context.Context, op api.Op) (api.OpReply, error) {
	if !roomName.MatchString(op.Room) {
		return api.OpReply{}, errNoRoom
	}
	member := "all"
	if op.Member != "" {
		if _, err := strconv.ParseUint(op.Member, 10, 32); err != nil {
			return api.OpReply{}, errMemberName
		}
		member = op.Member
	}
	var command string
	switch op.Action {
	case "list":
		return c.members(ctx, op.Room)
	case "mute", "unmute", "kick":
		command = op.Action + " " + member
	case "lock", "unlock":
		command = op.Action
	default:
		return api.OpReply{}, errNoAction
	}
	answer, err := c.order(ctx, "conference "+op.Room+" "+command)
	if err != nil {
		answer = said(err)
	}
	switch {
	case isNotFound(answer):
		return api.OpReply{}, errNoRoom
	case strings.Contains(strings.ToLower(answer), "non-exist"), strings.HasPrefix(strings.TrimPrefix(answer, "-ERR "), "Member "):
		return api.OpReply{}, errNoMember
	case err != nil:
		return api.OpReply{}, err
	case strings.HasPrefix(answer, "-ERR"):
		return api.OpReply{}, fmt.Errorf("FreeSWITCH: %s", answer)
	}
	return api.OpReply{}, nil
}

func (c *Calls) members(ctx context.Context, name string) (api.OpReply, error) {
	state, err := readRoom(ctx, c.order, name)
	if err != nil && !errors.Is(err, errNoRoom) {
		return api.OpReply{}, err
	}
	reply := api.OpReply{Locked: state.Locked, Members: []api.ConferenceMember{}}
	now := time.Now()
	for _, m := range state.Members {
		if m.Type != "caller" {
			continue
		}
		reply.Members = append(reply.Members, api.ConferenceMember{
			ID: strconv.FormatInt(m.ID, 10), Token: c.token(m.UUID), Number: m.Number, Name: m.Name,
			Muted: !m.JoinFlag.CanSpeak, Moderator: m.JoinFlag.Moderator, JoinedMS: now.Add(-time.Duration(m.JoinedS) * time.Second).UnixMilli(),
		})
	}
	return reply, nil
}

// token returns the call of a channel, "" when it is none of ours.
func (c *Calls) token(uuid string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.live[uuid]; k != nil {
		return k.token
	}
	return c.orphans[uuid].token
}
