package api

// PathSupervise is where supervisors ask to hear the talks of queues: POST SuperviseRequest.
const PathSupervise = "/queues/supervise"

// SuperviseStop is the mode that lets a supervisor go. The others are kinds of an Op: listen, whisper, barge.
const SuperviseStop = "stop"

// SuperviseRequest has a supervisor's phones rung, and lets him hear the talk of a caller then. Another mode of the same
// supervisor changes who hears him, without a new call; the same one changes nothing.
type SuperviseRequest struct {
	EntryID string `json:"entry_id"` // of the caller, as GET /queues has it
	UserID  string `json:"user_id"`  // the supervisor: id or username
	Mode    string `json:"mode"`     // listen: nobody hears him; whisper: the agent does; barge: both do; stop: he is let go
}

// SuperviseReply says that it is done, or for one who did not listen yet that his phones are about to ring.
type SuperviseReply struct {
	EntryID string `json:"entry_id"`
	UserID  string `json:"user_id"`
	Mode    string `json:"mode"`
	Node    string `json:"node"` // that has the talk
}
