package flow

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// outgoing is a leg that FreeSWITCH makes through Kamailio for a call of ours.
type outgoing struct {
	uuid, callID   string // its channel, its dialog
	laws           string // of G.711, as they are offered
	limit          int    // seconds after which FreeSWITCH gives it up
	kind, id       string // who it is for
	token, account string // of our call
	caller         string // id of the user who makes the call, "" = none
	number, name   string // what the phone shows; "" = withheld
	more           []string
	then           string // what it does when it was answered: the arguments of originate behind the address
}

// idle are the variables of a leg that waits here: no key stops what it hears, and packets go when it hears nothing.
var idle = []string{"playback_terminators=none", "send_silence_when_idle=-1"}

// dialString are the arguments of originate.
func (o outgoing) dialString(proxy string) string {
	vars := []string{
		"origination_uuid=" + o.uuid,
		"originate_timeout=" + strconv.Itoa(o.limit),
		"ignore_early_media=true",
		"sip_invite_call_id=" + o.callID,
		"absolute_codec_string=" + o.laws,
		"rtp_rewrite_timestamps=true",
	}
	vars = append(vars, o.more...)
	vars = append(vars,
		"sip_h_"+api.HeaderDial+"="+word(o.kind+"/"+o.id),
		"sip_h_"+api.HeaderCall+"="+word(o.token),
		"sip_h_"+api.HeaderAccount+"="+word(o.account),
		"origination_caller_id_number="+word(cmp.Or(o.number, withheld)),
		"origination_caller_id_name="+word(o.name),
	)
	if o.caller != "" {
		vars = append(vars, "sip_h_"+api.HeaderCaller+"="+word(o.caller))
	}
	return "{^^;" + strings.Join(vars, ";") + "}sofia/sipio/sip:" + userPart(api.CommandParams{DestID: o.id}) + "@" + proxy + " " + o.then
}

// word makes text harmless as one value in an order whose words are separated by spaces, which a dial string alone is not.
func word(text string) string { return "'" + plain(text) + "'" }

// dialing is an originate under way. err is set before done is closed: why nobody answered, nil when somebody did.
type dialing struct {
	done chan struct{}
	err  error
}

// over tells that nothing is to come of it any more.
func (d *dialing) over() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// originate has FreeSWITCH make a leg. It rings as long as it is to, also when ctx ends.
func (c *Calls) originate(ctx context.Context, o outgoing, rings time.Duration) *dialing {
	job := &dialing{done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rings+orderTimeout)
	go func() {
		defer cancel()
		_, job.err = c.cfg.Switch.Job(ctx, "originate "+o.dialString(c.cfg.Proxy))
		close(job.done)
	}()
	return job
}

// hangUp ends a leg, also one that FreeSWITCH is only about to make, and also when ctx has ended.
func (c *Calls) hangUp(ctx context.Context, uuid, cause string, job *dialing) {
	ctx = context.WithoutCancel(ctx)
	tick := time.NewTicker(killEvery)
	defer tick.Stop()
	for deadline := time.Now().Add(settleTimeout); time.Now().Before(deadline); {
		made := job.over()
		if _, err := c.order(ctx, "uuid_kill "+uuid+" "+cause); err == nil || made && isRefusal(err) {
			return
		}
		done := job.done
		if made { // FreeSWITCH is away: it is asked again soon, not at once
			done = nil
		}
		select {
		case <-done:
		case <-tick.C:
		}
	}
	c.log.Warn("a leg could not be hung up", "channel", uuid)
}

// isDouble tells that FreeSWITCH has a channel of that name.
func isDouble(err error) bool { return said(err) == "DESTINATION_OUT_OF_ORDER" }
