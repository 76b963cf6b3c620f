try benchNFT()
