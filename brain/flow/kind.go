package flow

import "github.com/sipio/sipio/brain"

// kind is one row of the table of steps.
type kind struct {
	name      string
	read      func(f *fields) action
	logic     bool // decides by itself: needs neither the caller nor anybody else's phone
	afterGone bool // may run after the caller hung up
}

// kinds is the table of steps.
var kinds = []kind{
	{"entry", readEntry, true, false},
	{"play", readPlay, false, false},
	{"say", readSay, false, false},
	{"menu", readMenu, false, false},
	{"collect", readCollect, false, false},
	{"condition", readCondition, true, true},
	{"switch", readSwitch, true, false},
	{"timeCondition", readTimeCondition, true, false},
	{"set", readSet, true, true},
	{"http", readHTTP, true, true},
	{"dial", readDial, false, false},
	{"ringGroup", readRingGroup, false, false},
	{"forward", readForward, false, false},
	{"enqueue", readEnqueue, false, false},
	{"voicemail", readVoicemail, false, false},
	{"record", readRecord, false, false},
	{"conference", readConference, false, false},
	{"flow", readFlow, false, false},
	{"transfer", readTransfer, false, false},
	{"tag", readTag, true, true},
	{"hangup", readHangup, false, false},
}

func kindByName(name string) *kind {
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i]
		}
	}
	return nil
}

// referenceFields says which parameters of a step name a resource. destId follows destKind.
var referenceFields = []struct {
	field string
	kind  brain.Kind
}{
	{"audioId", brain.KindMediaFile}, {"playlistId", brain.KindMediaPlaylist}, {"promptAudioId", brain.KindMediaFile},
	{"repromptAudioId", brain.KindMediaFile}, {"invalidAudioId", brain.KindMediaFile}, {"scheduleId", brain.KindTimeSchedule},
	{"ringGroupId", brain.KindRingGroup}, {"forwardId", brain.KindForward}, {"queueId", brain.KindQueue}, {"mailboxId", brain.KindVoicemail},
	{"conferenceId", brain.KindConference}, {"flowId", brain.KindCallFlow},
}

// destKinds is what destId is about, by destKind; "" = no resource.
var destKinds = map[string]brain.Kind{
	"user": brain.KindSIPUser, "extension": brain.KindExtension, "ring_group": brain.KindRingGroup, "queue": brain.KindQueue, "flow": brain.KindCallFlow,
	"voicemail": brain.KindVoicemail, "conference": brain.KindConference, "number": "", "hangup": "",
}
