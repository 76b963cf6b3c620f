print("marker")
