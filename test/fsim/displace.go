package fsim

import "time"

// displacer is `uuid_displace`: the channel hears a sound in place of what it would hear, in step with that, and whoever it talks
// to hears silence. The studio's lock guards it.
type displacer struct {
	sound sound
	again func() sound // from its beginning; nil: it is played once
	until time.Time    // zero = for ever
}

// overdub takes away what the channel says.
func (d *displacer) overdub(k *track) { clear(k.in[:]) }

// redub puts the sound in place of what the channel hears, before anybody who listens hears that.
func (d *displacer) redub(k *track) (goesOn bool) {
	if !d.until.IsZero() && time.Now().After(d.until) {
		return false
	}
	if !k.any {
		return true
	}
	if d.sound.next(&k.out) {
		return true
	}
	clear(k.out[:])
	if d.again == nil {
		return false
	}
	d.sound = d.again()
	return d.sound != nil
}

func (d *displacer) hear(*track) bool { return true }

// uuidDisplace is `uuid_displace UUID start|stop PATH [SECONDS [FLAGS]]`; of the flags, l plays it over and over.
func (s *Server) uuidDisplace(args string) string {
	f := words(args, 5)
	if len(f) < 3 || f[1] != "start" && f[1] != "stop" {
		return "-USAGE: <uuid> [start|stop] <path> [<limit>] [mux]\n"
	}
	c := s.channel(f[0])
	if c == nil {
		return noSession
	}
	ok := false
	switch {
	case f[1] == "stop":
		ok = c.undisplace(f[2])
	default:
		f = append(f, "0", "")
		ok = c.displace(f[2], number(f[3]), f[4])
	}
	if !ok {
		return map[string]string{"start": "-ERR Cannot displace session!\n", "stop": "-ERR Cannot stop displace session!\n"}[f[1]]
	}
	return anySuccess
}

// displace begins one; false: it cannot, or does already.
func (c *channel) displace(path string, limit int, flags string) bool {
	opened, err := c.s.openSound(path)
	if err != nil || !c.hasMedia() {
		return false
	}
	d := &displacer{sound: opened}
	for _, flag := range flags {
		if flag == 'l' {
			d.again = func() sound { again, _ := c.s.openSound(path); return again }
		}
	}
	if limit > 0 {
		d.until = time.Now().Add(time.Duration(limit) * time.Second)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.displaced[path] != nil {
		return false
	}
	if c.displaced == nil {
		c.displaced = map[string]*displacer{}
	}
	c.displaced[path] = d
	c.s.studio.plant(c.track, d)
	return true
}

// undisplace ends one; false: there is none of that path.
func (c *channel) undisplace(path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.displaced[path]
	if d == nil {
		return false
	}
	delete(c.displaced, path)
	return c.s.studio.pull(c.track, d)
}
