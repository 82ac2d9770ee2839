package fsim

import (
	"encoding/json"
	"strings"
	"time"
)

// channelCommands are those about one channel, by name.
var channelCommands map[string]func(s *Server, args string) string

func init() {
	channelCommands = map[string]func(s *Server, args string) string{
		"uuid_exists": func(s *Server, id string) string {
			if s.channel(id) != nil {
				return "true"
			}
			return "false"
		},
		"uuid_getvar":       (*Server).uuidGetvar,
		"uuid_setvar":       (*Server).uuidSetvar,
		"uuid_setvar_multi": (*Server).uuidSetvarMulti,
		"uuid_kill":         (*Server).uuidKill,
		"uuid_break":        (*Server).uuidBreak,
		"uuid_broadcast":    (*Server).uuidBroadcast,
		"uuid_bridge":       (*Server).uuidBridge,
		"uuid_transfer":     (*Server).uuidTransfer,
		"uuid_park":         (*Server).uuidPark,
		"uuid_answer":       (*Server).uuidAnswer,
		"uuid_pre_answer":   (*Server).uuidAnswer,
		"uuid_record":       (*Server).uuidRecord,
		"uuid_displace":     (*Server).uuidDisplace,
		"uuid_dump":         (*Server).uuidDump,
		"uuid_media":        (*Server).uuidMedia,
		"uuid_media_reneg":  (*Server).uuidReneg,
		"uuid_hold":         func(*Server, string) string { return anySuccess },
		"uuid_send_dtmf":    (*Server).uuidSendDTMF,
	}
}

func (s *Server) uuidGetvar(args string) string {
	f := words(args, 2)
	if len(f) < 2 {
		return "-USAGE: <uuid> <var>\n"
	}
	c := s.channel(f[0])
	if c == nil {
		return noChannel
	}
	if v := c.get(f[1]); v != "" {
		return v
	}
	return "_undef_"
}

func (s *Server) uuidSetvar(args string) string {
	f := words(args, 3)
	if len(f) < 2 {
		return "-USAGE: <uuid> <var> [value]\n"
	}
	c := s.channel(f[0])
	if c == nil {
		return noChannel
	}
	value := ""
	if len(f) > 2 {
		value = f[2]
	}
	c.set(f[1], value)
	return "+OK\n"
}

// uuidSetvarMulti takes NAME=VALUE pairs with semicolons between.
func (s *Server) uuidSetvarMulti(args string) string {
	f := words(args, 2)
	if len(f) < 2 {
		return "-USAGE: <uuid> <var>=<value>;<var>=<value>...\n"
	}
	c := s.channel(f[0])
	if c == nil {
		return noChannel
	}
	for pair := range strings.SplitSeq(f[1], ";") {
		name, value, _ := strings.Cut(pair, "=")
		c.set(name, value)
	}
	return "+OK\n"
}

func (s *Server) uuidKill(args string) string {
	f := words(args, 2)
	if len(f) == 0 {
		return "-USAGE: <uuid> [cause]\n"
	}
	c := s.channel(f[0])
	if c == nil {
		return noChannel
	}
	why := normalClearing
	if len(f) > 1 {
		why = f[1]
	}
	c.end(why, false)
	return "+OK\n"
}

func (s *Server) uuidBreak(args string) string {
	f := words(args, 2)
	if len(f) == 0 {
		return "-USAGE: <uuid> [all]\n"
	}
	c := s.channel(f[0])
	if c == nil {
		return noChannel
	}
	if len(f) > 1 && strings.Contains(f[1], "all") {
		c.flush()
	}
	c.halt()
	return "+OK\n"
}

// uuidBroadcast plays a file, or executes APP::ARGS, inside what runs.
func (s *Server) uuidBroadcast(args string) string {
	f := words(args, 3)
	if len(f) < 2 {
		return "-USAGE: <uuid> <path> [aleg|bleg|holdb|both]\n"
	}
	c := s.channel(f[0])
	if c == nil {
		return "-ERR invalid uuid\n"
	}
	app, data := "playback", f[1]
	if name, arg, ok := strings.Cut(f[1], "::"); ok {
		app, data = name, arg
	}
	leg := "aleg"
	if len(f) > 2 {
		leg = f[2]
	}
	if leg != "bleg" {
		c.send(&message{app: app, data: data, lock: true})
	}
	c.mu.Lock()
	peer := c.partner
	c.mu.Unlock()
	if leg != "aleg" && peer != nil {
		peer.send(&message{app: app, data: data, lock: true})
	}
	return "+OK Message sent\n"
}

// bridgeDelay is how long the sessions of a uuid_bridge take to find each other: two packets of 20 ms. Until then
// there is no bridge, and no media to release.
const bridgeDelay = 40 * time.Millisecond

// uuidBridge connects two answered channels, wherever they are.
func (s *Server) uuidBridge(args string) string {
	f := words(args, 2)
	if len(f) < 2 {
		return "-USAGE: <uuid> <other_uuid>\n"
	}
	a, b := s.channel(f[0]), s.channel(f[1])
	if a == nil || b == nil || a == b || !a.up() || !b.up() || !a.hasMedia() && !b.hasMedia() {
		return "-ERR Invalid uuid\n"
	}
	a.divert(func() {
		for _, state := range []string{"CS_HIBERNATE", "CS_RESET", "CS_SOFT_EXECUTE"} {
			a.enter(state)
		}
		if a.wait(wait{timeout: bridgeDelay, deaf: true}) == left || !b.up() {
			a.goOn()
			return
		}
		a.fireExecution("CHANNEL_EXECUTE", execution{"uuid_bridge", b.id, newUUID()})
		a.answer()
		a.pair(true)
		a.talk(b)
		a.pair(false)
		if !a.ready() {
			return
		}
		switch next := a.get("transfer_after_bridge"); {
		case truth(a.get("park_after_bridge")):
			a.enter("CS_PARK")
			a.park(nil)
		case next != "":
			a.transfer(strings.ReplaceAll(next, ":", " "))
		default:
			a.goOn() // to the end of its dialplan, and so to its own if there is nothing left
		}
	})
	return "+OK " + f[1] + "\n"
}

func (c *channel) pair(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paired = on
}

func (s *Server) uuidTransfer(args string) string {
	f := words(args, 2)
	if len(f) < 2 {
		return "-USAGE: <uuid> [-bleg|-both] <dest-exten> [<dialplan>] [<context>]\n"
	}
	c := s.channel(f[0])
	if c == nil {
		return noChannel
	}
	if which, rest, _ := strings.Cut(f[1], " "); which == "-bleg" || which == "-both" {
		c.mu.Lock()
		peer := c.partner
		c.mu.Unlock()
		if peer != nil {
			peer.transfer(rest)
		}
		if f[1] = rest; which == "-bleg" {
			return "+OK\n"
		}
	}
	c.transfer(f[1])
	return "+OK\n"
}

func (s *Server) uuidPark(args string) string {
	if args == "" {
		return "-USAGE: <uuid>\n"
	}
	c := s.channel(args)
	if c == nil {
		return noChannel
	}
	c.divert(func() {
		c.enter("CS_PARK")
		c.park(nil)
	})
	return "+OK\n"
}

func (s *Server) uuidAnswer(args string) string {
	c := s.channel(args)
	if c == nil || !c.answer() {
		return "-ERROR\n"
	}
	return "+OK\n"
}

// uuidRecord says success also while the media is released, when nothing is written.
func (s *Server) uuidRecord(args string) string {
	f := words(args, 5)
	if len(f) < 3 {
		return "-USAGE: <uuid> [start|stop|pause|resume|mask|unmask] <path> [<limit>] [<recording_vars>]\n"
	}
	c := s.channel(f[0])
	if c == nil {
		return noSession
	}
	path, ok := f[2], false
	switch f[1] {
	case "start":
		limit := 0
		if len(f) > 3 {
			limit = number(f[3])
		}
		if !c.recordSession(path, limit) {
			return "-ERR Cannot record session!\n"
		}
		return anySuccess
	case "stop":
		ok = c.stopRecording(path)
	case "pause", "resume":
		ok = c.recording(path, func(r *recorder) { r.paused = f[1] == "pause" })
	case "mask", "unmask":
		ok = c.recording(path, func(r *recorder) { r.masked = f[1] == "mask" })
	default:
		return "-USAGE: <uuid> [start|stop|pause|resume|mask|unmask] <path> [<limit>] [<recording_vars>]\n"
	}
	if !ok {
		return "-ERR Cannot " + f[1] + " record session!\n"
	}
	return anySuccess
}

// uuidDump is all that is known of a channel, as an event.
func (s *Server) uuidDump(args string) string {
	f := strings.Fields(args)
	if len(f) == 0 {
		return "-USAGE: <uuid> [format]\n"
	}
	c := s.channel(f[0])
	if c == nil {
		return noChannel
	}
	e := c.event("CHANNEL_DATA")
	if len(f) > 1 && f[1] == "json" {
		var compact map[string]any
		text := e.json()
		if json.Unmarshal(text, &compact) != nil {
			return "-ERR cannot write JSON\n"
		}
		return string(text)
	}
	return string(e.plain())
}

func (s *Server) uuidSendDTMF(args string) string {
	f := words(args, 2)
	if len(f) < 2 {
		return "-USAGE: <uuid> <dtmf_data>\n"
	}
	c := s.channel(f[0])
	if c == nil {
		return noSession
	}
	appSendDTMF(c, f[1])
	return "+OK " + c.id + " sent DTMF " + f[1] + ".\n"
}
