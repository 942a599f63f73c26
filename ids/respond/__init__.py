"""Response: matches in; EVE events and block orders out. A match asks, `Responder` decides; next comes the wire.

responder       carries out what matches ask for, and says so in events
policy          whom a match may block, and for how long
threshold       how often a rule may alert
state           bits and counters that rules set and ask for
distinct        how many different things a party was seen with: scans
sequences       which rules matched before, for the same party
protected       this host's own addresses, gateways and resolvers
gate            what response needs of whatever stands in front: kernel or replay
recount         flows brought up to what the gate counted
events          matches, flows and transactions as EVE objects
community_id    the hash by which tools name a flow
"""
