package brain

// NameOf is what people call a resource: its name in the declarative file. One that is called after others has their ids
// in it as long as its references are ids.
func NameOf(r Resource) string {
	switch r := r.(type) {
	case *Account:
		return r.Name
	case *SIPDomain:
		return r.Domain
	case *SIPUser:
		return r.Username
	case *SIPDevice:
		return r.AuthUsername + "@" + r.Realm
	case *Extension:
		return r.Digits
	case *RingGroup:
		return r.Name
	case *Node:
		return r.Name
	case *RatePlan:
		return r.Name
	case *APIKey:
		return r.Name
	case *ConsoleUser:
		return r.Email
	case *CallLimit:
		return r.Name
	case *DID:
		return r.E164
	case *TimeSchedule:
		return r.Name
	case *CallFlow:
		return r.Name
	case *SIPTrunk:
		return r.Name
	case *OutboundRoute:
		return r.Name
	case *Forward:
		return r.Name
	case *Secret:
		return r.Name
	case *Voicemail:
		return r.Name
	case *Conference:
		return r.Name
	case *MediaFile:
		return r.Name
	case *MediaPlaylist:
		return r.Name
	case *Queue:
		return r.Name
	case *AgentQueueAssignment:
		return r.QueueID + "/" + r.UserID
	case *InQueueOption:
		return r.QueueID + "/" + r.Digit
	case *VoicemailMessage:
		return r.ID // nobody names messages
	}
	return ""
}
