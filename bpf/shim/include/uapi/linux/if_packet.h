/* Empty: packet types of socket filters are of no use to XDP. */
