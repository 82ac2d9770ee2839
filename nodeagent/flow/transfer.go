package flow

import (
	"context"
	"errors"
	"strconv"

	"github.com/sipio/sipio/brain/api"
)

var errNobodyTalks = errors.New(api.NobodyTalks)

// Transfer ends a caller's talk on the other side: that leg is hung up, and the caller comes back as after any talk, for
// the brain to say where he goes. A talk that goes on without a runner is parted, too. When the other side has gone
// already, or the caller talks in a later command than the order's, there is nothing to do. Who is asked to take the caller
// is let go.
func (c *Calls) Transfer(ctx context.Context, op api.Op) (api.OpReply, error) {
	channel, leg, over, err := c.talkIn(ctx, op)
	if err != nil || over {
		return api.OpReply{}, err
	}
	if op.LegID != "" { // of a phone that may be another one's by now, or be asked to take him
		switch id, err := c.variable(ctx, leg, "sip_call_id"); {
		case err != nil:
			return api.OpReply{}, err
		case id != op.LegID:
			return api.OpReply{}, errNobodyTalks
		}
	}
	c.mu.Lock()
	a := c.asked[channel]
	c.mu.Unlock()
	if a != nil {
		a.stop()
	}
	return api.OpReply{}, c.endLeg(ctx, leg)
}

// Complete is Transfer for a caller whom somebody waits for who was asked.
func (c *Calls) Complete(ctx context.Context, op api.Op) (api.OpReply, error) {
	_, leg, over, err := c.talkIn(ctx, op)
	if err != nil || over {
		return api.OpReply{}, err
	}
	if _, err := c.answeredAsked(ctx, op); errors.Is(err, errNobodyTalks) {
		return api.OpReply{}, nil // it is over by now
	} else if err != nil {
		return api.OpReply{}, err
	}
	return api.OpReply{}, c.endLeg(ctx, leg)
}

// endLeg hangs up whom a caller talks to.
func (c *Calls) endLeg(ctx context.Context, leg string) error {
	_, err := c.order(ctx, "uuid_kill "+leg+" NORMAL_CLEARING")
	if err == nil || !isRefusal(err) {
		return err
	}
	if there, gone := c.exists(ctx, leg); gone == nil && !there {
		return nil
	}
	return err
}

// talkIn finds the caller of an order and the leg to which he talks in its command. over: that leg has gone, or he is in a
// later command.
func (c *Calls) talkIn(ctx context.Context, op api.Op) (channel, leg string, over bool, err error) {
	if channel = c.channelOf(op.Token); channel == "" {
		return "", "", false, errNoCall
	}
	begun, err := c.variable(ctx, channel, markVariable)
	if err != nil {
		return "", "", false, err
	}
	if leg, err = c.variable(ctx, channel, lastBridgeTo); err != nil { // cleared before each talk
		return "", "", false, err
	}
	switch seq, _ := strconv.ParseInt(begun, 10, 64); {
	case seq > op.Seq: // that talk is over
		return channel, leg, true, nil
	case seq < op.Seq || leg == "":
		return "", "", false, errNobodyTalks
	}
	there, err := c.exists(ctx, leg)
	return channel, leg, !there, err
}

// channelOf finds the channel of a call that lives here, "" when it does not.
func (c *Calls) channelOf(token string) string {
	if token == "" {
		return ""
	}
	if k := c.find(token); k != nil {
		return k.uuid
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for uuid, o := range c.orphans {
		if o.token == token {
			return uuid
		}
	}
	return ""
}

// aMoment of silence is what brings a caller's media back.
const aMoment = "silence_stream://20"

// bringBack has the caller send his media to the media server again, when a talk that has gone past it is over: FreeSWITCH
// asks for it back when it has something to play, and would connect a call made before that without any.
func (k *call) bringBack(ctx context.Context) error {
	talkedTo, err := k.of.variable(ctx, k.uuid, lastBridgeTo)
	if err != nil || talkedTo == "" {
		return err
	}
	id, err := k.begin(ctx, "playback", aMoment)
	if err != nil {
		return err
	}
	k.settle(ctx, func() bool { _, ended := k.over(id); return ended })
	delete(k.ended, id)
	return nil
}
