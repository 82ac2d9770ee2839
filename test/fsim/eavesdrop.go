package fsim

import "strings"

// spy is a supervisor on another channel's audio: he hears both directions of it, and is mixed into them as told. The
// studio's lock guards it.
type spy struct {
	own        *track  // of the supervisor
	intoRead   bool    // who talks to the channel hears him
	intoWrite  bool    // the channel hears him
	said       block   // what the channel said in this beat, without him
	spoke      bool    // said holds something
	heard      []block // what he has not heard yet: the two beat in any order
	maxWaiting int
}

// appEavesdrop is `eavesdrop UUID`: it lasts until that channel, or this one, ends. Keys are nobody's.
func appEavesdrop(c *channel, data string) {
	target := c.s.channel(strings.TrimSpace(data))
	if target == nil || target == c {
		return
	}
	s := &spy{own: c.track, intoRead: truth(c.get("eavesdrop_whisper_aleg")), intoWrite: truth(c.get("eavesdrop_whisper_bleg")), maxWaiting: 3}
	c.s.studio.plant(target.track, s)
	c.s.studio.push(c.track, s)
	defer c.s.studio.pull(target.track, s)
	defer c.s.studio.pop(c.track, s)
	for how := broken; how == broken || how == stopped; {
		how = c.wait(wait{done: target.hangup, digit: func(press) bool { return false }})
	}
}

// overdub mixes him into what the channel says, before anybody hears that.
func (s *spy) overdub(k *track) {
	s.said, s.spoke = k.in, k.came
	if !k.came {
		clear(s.said[:])
	}
	if s.intoRead && s.own.came && !k.freed {
		k.in, k.came = sum(&s.said, &s.own.in), true
	}
}

// hear takes what goes both ways in this beat, and mixes him into what the channel hears.
func (s *spy) hear(k *track) bool {
	if s.spoke || k.any {
		s.heard = append(s.heard, sum(&s.said, &k.out))
	}
	if len(s.heard) > s.maxWaiting {
		s.heard = s.heard[1:]
	}
	if s.intoWrite && s.own.came {
		k.out, k.any = sum(&k.out, &s.own.in), true
	}
	return true
}

// frame is what he hears.
func (s *spy) frame(b *block) bool {
	if len(s.heard) == 0 {
		return false
	}
	*b = s.heard[0]
	s.heard = s.heard[1:]
	return true
}

func sum(a, b *block) (out block) {
	for i := range a {
		out[i] = int16(max(-32768, min(32767, int(a[i])+int(b[i]))))
	}
	return out
}
