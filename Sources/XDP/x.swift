struct BPFObjectCode {}
