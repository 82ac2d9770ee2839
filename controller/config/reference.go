package config

import (
	"fmt"

	"github.com/sipio/sipio/brain"
)

// eachReference calls visit for each field of the resource that names another one: its path, the kind
// it names, and the field itself. Of a flow those are the references inside its graph.
func eachReference(r brain.Resource, visit func(path string, kind brain.Kind, ref *string)) {
	dest := func(prefix string, kind brain.DestKind, id *string) {
		if named := kind.ResourceKind(); named != "" {
			visit(prefix+"dest_id", named, id)
		}
	}
	switch r := r.(type) {
	case *brain.Account:
		if r.ParentID != nil {
			visit("parent_id", brain.KindAccount, r.ParentID)
		}
		visit("emergency_route_id", brain.KindOutboundRoute, &r.EmergencyRouteID)
		dest("did_default_", r.DIDDefaultDestKind, &r.DIDDefaultDestID)
	case *brain.SIPUser:
		dest("fwd_always_", r.FwdAlwaysDestKind, &r.FwdAlwaysDestID)
		dest("fwd_busy_", r.FwdBusyDestKind, &r.FwdBusyDestID)
		dest("fwd_noanswer_", r.FwdNoanswerDestKind, &r.FwdNoanswerDestID)
		visit("voicemail_id", brain.KindVoicemail, &r.VoicemailID)
	case *brain.SIPDevice:
		visit("user_id", brain.KindSIPUser, &r.UserID)
	case *brain.Extension:
		dest("", r.DestKind, &r.DestID)
		visit("schedule_id", brain.KindTimeSchedule, &r.ScheduleID)
		dest("closed_", r.ClosedDestKind, &r.ClosedDestID)
		dest("holiday_", r.HolidayDestKind, &r.HolidayDestID)
	case *brain.RingGroup:
		for i := range r.Members {
			visit(fmt.Sprintf("members[%d].user_id", i), brain.KindSIPUser, &r.Members[i].UserID)
		}
		dest("overflow_", r.OverflowDestKind, &r.OverflowDestID)
		visit("schedule_id", brain.KindTimeSchedule, &r.ScheduleID)
	case *brain.CallLimit:
		switch r.ScopeKind {
		case brain.LimitUser:
			visit("scope_id", brain.KindSIPUser, &r.ScopeID)
		case brain.LimitAccount:
			visit("scope_id", brain.KindAccount, &r.ScopeID)
		}
	case *brain.DID:
		dest("", r.DestKind, &r.DestID)
		visit("schedule_id", brain.KindTimeSchedule, &r.ScheduleID)
		dest("closed_", r.ClosedDestKind, &r.ClosedDestID)
		dest("holiday_", r.HolidayDestKind, &r.HolidayDestID)
	case *brain.OutboundRoute:
		visit("caller_account", brain.KindAccount, &r.CallerAccount)
		for i := range r.Trunks {
			visit(fmt.Sprintf("trunks[%d].trunk_id", i), brain.KindSIPTrunk, &r.Trunks[i].TrunkID)
		}
		visit("schedule_id", brain.KindTimeSchedule, &r.ScheduleID)
	case *brain.Forward:
		dest("overflow_", r.OverflowDestKind, &r.OverflowDestID)
	case *brain.CallFlow:
		eachGraphReference(&r.Graph, visit)
	case *brain.Voicemail:
		visit("greeting_media_id", brain.KindMediaFile, &r.GreetingMediaID)
	case *brain.VoicemailMessage:
		visit("voicemail_id", brain.KindVoicemail, &r.VoicemailID)
	case *brain.Queue:
		eachQueueReference(r, visit, dest)
	case *brain.AgentQueueAssignment:
		visit("queue_id", brain.KindQueue, &r.QueueID)
		visit("user_id", brain.KindSIPUser, &r.UserID)
	case *brain.InQueueOption:
		visit("queue_id", brain.KindQueue, &r.QueueID)
		dest("", r.DestKind, &r.DestID)
		visit("prompt_media_id", brain.KindMediaFile, &r.PromptMediaID)
	case *brain.MediaPlaylist:
		for i := range r.MediaIDs {
			visit(fmt.Sprintf("media_ids[%d]", i), brain.KindMediaFile, &r.MediaIDs[i])
		}
	}
}

func eachQueueReference(q *brain.Queue, visit func(path string, kind brain.Kind, ref *string), dest func(prefix string, kind brain.DestKind, id *string)) {
	visit("moh_media_id", brain.KindMediaFile, &q.MOHMediaID)
	visit("moh_playlist_id", brain.KindMediaPlaylist, &q.MOHPlaylistID)
	visit("whisper_media_id", brain.KindMediaFile, &q.WhisperMediaID)
	visit("schedule_id", brain.KindTimeSchedule, &q.ScheduleID)
	dest("closed_", q.ClosedDestKind, &q.ClosedDestID)
	dest("holiday_", q.HolidayDestKind, &q.HolidayDestID)
	dest("timeout_", q.TimeoutDestKind, &q.TimeoutDestID)
	dest("no_agents_", q.NoAgentsDestKind, &q.NoAgentsDestID)
	dest("queue_full_", q.QueueFullDestKind, &q.QueueFullDestID)
	dest("ewt_", q.EWTDestKind, &q.EWTDestID)
}
